"""A function that waits for its arguments."""

from agentd.api.decorators.small import local

Local = local

__all__ = ["Local", "local"]
