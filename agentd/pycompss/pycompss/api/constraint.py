"""What a task demands of its host."""

from agentd.api.decorators.small import constraint

Constraint = constraint
constraints = constraint
Constraints = constraint

__all__ = ["Constraint", "Constraints", "constraint", "constraints"]
