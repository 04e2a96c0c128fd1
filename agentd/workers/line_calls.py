"""What workers say of durable calls that sessions make over direct lines.

Law: a worker speaks of calls over a line only while it serves one, as the first task that it was given.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from agentd.core.line_events import LineCallsEnded
from agentd.workers.frames import decode_results
from agentd.workers.protocol import NUMBER, Kind, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.events import Event, TaskResult
    from agentd.workers.process import Process
    from agentd.workers.sharing import Sharing

_PARTS, _MADE = attrgetter("value.parts"), attrgetter("made")


class LineCalls:
    """Turns frames into events."""

    def __init__(self, sharing: Sharing, post: Callable[[Event], None]) -> None:
        self._sharing = sharing
        self._post = post

    def on_frame(self) -> dict[int, Callable[[Process, memoryview], None]]:
        """Tell what takes which frames; each raises `ProtocolError` for what is none."""
        return {Kind.RODE: self._on_rode, Kind.LAST: self._on_last}

    def _on_rode(self, process: Process, body: memoryview) -> None:
        results: list[TaskResult] = [*decode_results(body)]
        if any(map(_MADE, results)):
            raise ProtocolError("a call over a direct line made versions")
        if any(map(_PARTS, results)):
            results = [self._sharing.adopted(process, result) for result in results]
        self._post(LineCallsEnded(process.first(), results))

    def _on_last(self, process: Process, body: memoryview) -> None:
        (ref,) = NUMBER.unpack(body)
        self._post(LineCallsEnded(process.first(), [], ref))
