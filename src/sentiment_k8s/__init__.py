"""Text classification in production on plain CPUs, with a durable log of every answer."""

__version__ = "1.0.0"
