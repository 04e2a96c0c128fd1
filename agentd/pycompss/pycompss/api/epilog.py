"""A command after a task."""

from agentd.api.decorators.binary import epilog

Epilog = epilog

__all__ = ["Epilog", "epilog"]
