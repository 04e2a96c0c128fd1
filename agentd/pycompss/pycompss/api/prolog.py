"""A command before a task."""

from agentd.api.decorators.binary import prolog

Prolog = prolog

__all__ = ["Prolog", "prolog"]
