"""What an agent sends for as long as somebody listens, line by line."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct


class LogLine(Struct, frozen=True):
    """A piece of what users' code wrote."""

    stream: str
    """stdout or stderr."""
    text: str


class Event(Struct, frozen=True):
    """One thing that happened at the agent."""

    id: int
    topic: str
    data: dict[str, Any]


_log_line = msgspec.json.Decoder(LogLine)


def log_line(line: str) -> LogLine | None:
    """Read one line of a stream of logs; None for an empty one."""
    return _log_line.decode(line) if line else None


class EventReader:
    """Reads server-sent events (WHATWG HTML, section 9.2), line by line.

    Attributes:
        last_id: of the last event, for going on from there.
    """

    def __init__(self) -> None:
        self.last_id = 0
        self._topic = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """Take one line without its end; give the event that it completes."""
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._topic = value
        elif name == "id" and value.isdigit():
            self.last_id = int(value)
        return None

    def _complete(self) -> Event | None:
        data, topic = "\n".join(self._data), self._topic
        self._data, self._topic = [], ""
        return Event(self.last_id, topic or "message", msgspec.json.decode(data, type=dict[str, Any])) if data else None
