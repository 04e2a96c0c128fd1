"""A task over a list as a tree of calls, under the name that it had first."""

from agentd.api.decorators.reduction import reduction as reduce

Reduce = reduce

__all__ = ["Reduce", "reduce"]
