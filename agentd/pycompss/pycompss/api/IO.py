"""A task that needs no core."""

from agentd.api.decorators.small import IO

io = IO

__all__ = ["IO", "io"]
