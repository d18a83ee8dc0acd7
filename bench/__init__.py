"""Measurements of this service beside what the hardware allows and beside others. See README.md."""
