"""A task in a container."""

from agentd.api.decorators.containers import container

Container = container

__all__ = ["Container", "container"]
