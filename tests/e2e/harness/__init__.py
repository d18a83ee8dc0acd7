"""What the scenarios stand on: kubectl and helm as they are, a load, the log, waiting, evidence."""
