"""What tasks raise to end their groups."""

from agentd.api.tasks.errors import GroupException


class COMPSsException(GroupException):
    """Raised in a task: the task counts as done, all others of its groups are cancelled, the group's barrier raises."""


__all__ = ["COMPSsException"]
