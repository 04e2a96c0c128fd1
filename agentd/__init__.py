"""One daemon per device; agents lend each other their cores."""

__version__ = "0.1.0"
