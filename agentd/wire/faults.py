"""What goes wrong on our side of a connection; what the other end does wrong is a `PeerError`."""

from __future__ import annotations

from agentd.model.errors import AgentdError


class LocalError(AgentdError):
    """This program used the protocol wrongly: nothing was sent and the connection is as it was."""


class Unsendable(LocalError):
    """A message, or some items of a batch, cannot travel on this connection; nothing of it was sent.

    Attributes:
        items: positions of the offending items in the batch; empty when the message is no batch.
    """

    def __init__(self, message: str, items: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.items = items


class TooLarge(Unsendable):
    """It exceeds the cap on one frame: large values belong into the object store, from which they go in chunks."""


class NotPortable(Unsendable):
    """It names shared memory or stored objects of this device, and the other end is on another."""
