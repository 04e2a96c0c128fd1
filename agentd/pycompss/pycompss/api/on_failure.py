"""What becomes of a failed task."""

from agentd.api.decorators.small import on_failure

OnFailure = on_failure
onFailure = on_failure
On_failure = on_failure

__all__ = ["OnFailure", "On_failure", "onFailure", "on_failure"]
