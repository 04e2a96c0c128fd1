"""Values too large for a message, between the programs of this device and to those elsewhere.

A segment that a program makes becomes one of the agent's; a segment that a result names is passed to the program that
asked, once, and kept until it lets go.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentd.model.errors import AgentdError
from agentd.model.values import Part, Payload
from agentd.workers.segments import Segments

if TYPE_CHECKING:
    from agentd.comm.door import Door
    from agentd.store.objects import Objects

MOST_INLINE_BYTES = 15 << 20
"""Of one value that leaves the device in a message (specified: a frame holds 16 MiB)."""


class TooLarge(AgentdError):
    """A value does not fit into a message."""


class Sharing:
    """The segments of this device, and the way of their bytes into messages."""

    def __init__(self) -> None:
        self.segments = Segments()
        self._objects: Objects | None = None

    def serve(self, door: Door, objects: Objects) -> None:
        """Take part in the messages about shared memory."""
        self._objects = objects
        self._door = door

    def inline(self, payload: Payload) -> Payload:
        """Bring all bytes of a payload into it.

        Raises:
            TooLarge: they do not fit into a message.
        """
        if payload.size_bytes > MOST_INLINE_BYTES:
            words = f"a value of {payload.size_bytes} bytes does not fit into a message of {MOST_INLINE_BYTES}"
            raise TooLarge(words)
        return Payload(payload.codec, payload.data, tuple(map(self._inlined, payload.parts)))

    def _inlined(self, part: Part) -> Part:
        if part.segment:
            return Part(part.size, os.pread(self.segments.fd(part.segment), part.size, part.offset))
        if part.stored and self._objects is not None:
            fd, _ = self._objects.open(part.stored)
            try:
                return Part(part.size, os.pread(fd, part.size, part.offset))
            finally:
                os.close(fd)
        return part
