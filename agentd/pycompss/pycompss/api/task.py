"""A function that is a task. A name in `@task` that is no parameter is warned of, as PyCOMPSs does."""

from agentd.api.decorators.task import TaskDecorator

task = TaskDecorator(is_strict=False)
Task = task

__all__ = ["Task", "task"]
