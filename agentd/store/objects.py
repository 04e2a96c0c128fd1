"""Objects."""

from agentd.model.errors import AgentdError


class SegmentLost(AgentdError):
    """A segment of shared memory is gone, or shorter than it was said to be."""
