"""A journal under test: its callbacks become events to wait for, and what it acknowledged is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from hypothesis import strategies as st

from agentd.core.journal.entries import (
    Accepted,
    Asked,
    Booted,
    CalledBack,
    Cancelling,
    Delivered,
    Ended,
    EndedAlike,
    Entry,
    Forgotten,
    HostAdded,
    HostRemoved,
    Returned,
    Started,
    WasRead,
)
from agentd.core.journal.recovery import Recovered, fold
from agentd.model.task import Outcome, Template
from agentd.model.values import Payload
from agentd.store.disk import Disk
from agentd.store.journal import Journal

WAIT_S = 60
"""Bound of a wait that only a hang reaches."""

TEMPLATE = Template("module:function")


class Kept:
    """An open journal, loaded and started.

    With `at_once` what is appended is committed by the caller where that may be; its clock says that no commit takes
    any time.
    """

    at_once = False

    def __init__(self, disk: Disk, path: Path, *, mark: Callable[[], object] = lambda: None, **options: object):
        self.events: SimpleQueue[tuple[str, object]] = SimpleQueue()
        self.acknowledged: list[tuple[int, object]] = []
        self.alarms: list[str] = []
        self.messages: list[str] = []
        self._mark = mark
        self.journal = Journal(
            disk,
            path,
            self._committed,
            lambda message: self.events.put(("filled", message)),
            lambda: self.events.put(("freed", None)),
            lambda error: self.events.put(("broken", error)),
            alarmed=self.messages.append,
            **{"clock": (lambda: 0.0) if self.at_once else None, "ballast_bytes": 64 * 1024, **options},
        )
        entries, alarms = self.journal.load()
        self.loaded = list(entries)
        self.alarms = alarms
        self.number = 0
        self.journal.start()

    def _committed(self, number: int) -> None:
        self.acknowledged.append((number, self._mark()))
        self.events.put(("committed", number))

    def append(self, *entries: Entry) -> int:
        for entry in entries:
            self.number += 1
            self.journal.append(self.number, entry)
        self.journal.flush(at_once=self.at_once)
        return self.number

    def next_event(self) -> tuple[str, object]:
        return self.events.get(timeout=WAIT_S)

    def commit(self, *entries: Entry) -> None:
        """Append and wait until all is committed.

        Raises:
            Exception: the journal broke instead.
        """
        self.append(*entries)
        self.wait()

    def wait(self) -> None:
        while not self.acknowledged or self.acknowledged[-1][0] < self.number:
            kind, value = self.next_event()
            if kind == "broken":
                raise value  # type: ignore[misc]

    def outcome(self, operation: int) -> Outcome | None:
        return asyncio.run(self.journal.read_outcome(operation))

    def close(self) -> None:
        self.journal.close()


def accepted(operation: int, size: int = 20, **fields: object) -> Accepted:
    return Accepted(operation, TEMPLATE, Payload(1, bytes([operation % 251]) * size), float(operation), 1.0, **fields)


def ended(operation: int, size: int = 20) -> Ended:
    return Ended(operation, Outcome(value=Payload(1, bytes([operation % 251]) * size)), float(operation), 2.0)


def without_time(state: Recovered) -> Recovered:
    """Leave out the last agent time, which alone may change when what is not needed is removed."""
    state.agent_time_s = 0.0
    return state


def folded(entries: list[Entry]) -> Recovered:
    return without_time(fold(entries))


def ended_alike(*operations: int, size: int = 20, at_s: float = 0.0) -> EndedAlike:
    """Give the ends of operations that went alike, each with a result of its own."""
    values = [bytes([operation % 251]) * size for operation in operations]
    seconds = [operation / 8 for operation in operations]
    outcome = Outcome(value=Payload(1), agent="own")
    return EndedAlike([*operations], values, seconds, outcome, at_s, 2.0, 1.0, Asked("m:f", 1.0, 2.0))


_operation = st.integers(1, 12)
_operations = st.lists(_operation, min_size=1, max_size=4, unique=True).map(tuple)
_name = st.sampled_from(["a", "b", "c"])
_time = st.integers(0, 1000).map(float)

entries = st.one_of(
    st.builds(Booted, _name, st.integers(1, 9), _time, st.just("1")),
    st.builds(
        Accepted,
        _operation,
        st.sampled_from([TEMPLATE, Template("other:function", code=b"code")]),
        st.builds(Payload, st.just(1), st.sampled_from([b"", b"x" * 30, b"y" * 3000])),
        _time,
        _time,
        key=st.sampled_from(["", "k1", "k2"]),
    ),
    st.builds(Started, _operations, _name, st.integers(0, 5)),
    st.builds(Returned, _operations),
    st.builds(Ended, _operation, st.builds(Outcome, st.integers(0, 4)), _time, _time),
    st.lists(_operation, min_size=1, max_size=8, unique=True).map(lambda some: ended_alike(*some)),
    st.builds(Cancelling, _operation),
    st.builds(WasRead, _operations, _time),
    st.builds(Delivered, _operations),
    st.builds(CalledBack, _operations),
    st.builds(Forgotten, _operations),
    st.builds(Forgotten, st.just(tuple(range(1, 13)))),
    st.builds(HostAdded, _name, st.binary(max_size=8)),
    st.builds(HostRemoved, _name),
)
histories = st.lists(entries, max_size=60)
