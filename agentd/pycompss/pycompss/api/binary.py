"""A task that is a command."""

from agentd.api.decorators.binary import binary

Binary = binary

__all__ = ["Binary", "binary"]
