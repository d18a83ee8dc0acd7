"""Text classification in production on plain CPUs, with a durable log of every answer."""

import os

__version__ = "1.0.0"

# ONNX Runtime numbers the machine and reports to its maker from its import on, unless told not to
# before (its Privacy.md). Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
