"""A task over a list as a tree of calls."""

from agentd.api.decorators.reduction import reduction

Reduction = reduction

__all__ = ["Reduction", "reduction"]
