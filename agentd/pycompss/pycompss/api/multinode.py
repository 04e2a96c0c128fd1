"""A task over several nodes."""

from agentd.api.decorators.small import multinode

Multinode = multinode
MultiNode = multinode

__all__ = ["MultiNode", "Multinode", "multinode"]
