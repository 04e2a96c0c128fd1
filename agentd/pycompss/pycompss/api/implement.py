"""Another way to do a task."""

from agentd.api.decorators.alternatives import implement

Implement = implement
implements = implement
Implements = implement

__all__ = ["Implement", "Implements", "implement", "implements"]
