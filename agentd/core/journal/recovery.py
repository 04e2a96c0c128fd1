"""What is left after a crash: the journal's entries folded into a state.

Law: `fold` is one pass without look-ahead. Folding a prefix and then the rest is folding all, so it does not matter in
which batches the entries were committed; and what was forgotten leaves nothing behind, its key included.

| entry | about a live operation | about an ended one | about an unknown one |
|---|---|---|---|
| Accepted | passed over | passed over | becomes live |
| Started | one attempt more; that host holds it | passed over | passed over |
| Returned | one attempt less; nobody holds it | passed over | passed over |
| Cancelling | is cancelling | passed over | passed over |
| Ended | is ended | passed over: the first end counts | is ended, as it says that it was asked for |
| WasRead | passed over | was read, at the first such time | passed over |
| Delivered | passed over | is delivered | passed over |
| CalledBack | passed over | is called back | passed over |
| Forgotten | is gone | is gone | passed over |

An `EndedAlike` is an `Ended` about each of its operations. An `Ended` that does not say how it was asked for, of an
unknown operation, is what the journal leaves of one whose acceptance was damaged on the disk: its function is unknown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

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
from agentd.core.tasks.task import HERE, Path
from agentd.model.task import Failure, Template

BRIEF = 300
"""Signs of a message that are kept in memory for each operation that did not end well; chosen: a line or two."""


class Live(Struct, gc=False):
    """An operation that was accepted and has not ended: it is still to be brought to its end."""

    accepted: Accepted
    attempts: int = 0
    """Executions that were begun and neither ended nor came back: each is lost by the crash."""
    holder: str | None = None
    """Host that was given it last: a neighbour, "" for this agent, None when nobody holds it."""
    epoch: int = 0
    """Lease epoch under which the holder has it."""
    is_cancelling: bool = False
    """A user wanted it stopped: it must not run again."""

    @property
    def has_lost_arguments(self) -> bool:
        """Tell whether some of its arguments were in memory that did not survive: it cannot run again."""
        return any(part.segment for part in self.accepted.payload.parts)


class Finished(Struct, gc=False):
    """An operation that has ended. Its outcome is not here: it is read from the journal when it is asked for."""

    operation: int
    status: int
    ended_at_s: float
    """Agent time, as all times here but those that say wall: those are seconds since 1970, for people only."""
    ended_wall_s: float
    submitted_at_s: float = 0.0
    submitted_wall_s: float = 0.0
    started_wall_s: float = 0.0
    function: str = ""
    name: str = ""
    key: str = ""
    digest: bytes = b""
    callback: str = ""
    path: Path = HERE
    sender_attempt: int = 1
    agent: str = ""
    """Agent that ran it."""
    hops: int = 0
    attempts: int = 1
    seconds: float = 0.0
    result_bytes: int = 0
    read_at_s: float | None = None
    """When a user first read the result; None when nobody has."""
    is_delivered: bool = False
    """The neighbour that gave it to us has recorded its end."""
    is_called_back: bool = False
    """Its callback was delivered, or given up."""
    failure: Failure | None = None
    """Why it did not end well, in a few words, for lists; all of it is read with its outcome."""


class Recovered(Struct):
    """All that the journal says of this agent; `fold` makes it."""

    boot: Booted | None = None
    """The last start; None for an agent that never ran."""
    agent_time_s: float = 0.0
    """The last agent time that any entry tells."""
    live: dict[int, Live] = field(default_factory=dict)
    """By operation, in the order of their acceptance."""
    finished: dict[int, Finished] = field(default_factory=dict)
    """By operation, in the order of their ends."""
    hosts: dict[str, HostAdded] = field(default_factory=dict)
    """The operator's pool by name: the last that was said of each host."""

    @property
    def keys(self) -> dict[str, int]:
        """Which operation each idempotency key stands for; worked out of the operations that are there."""
        keys: dict[str, int] = {}
        for finished in self.finished.values():
            if finished.key:
                keys.setdefault(finished.key, finished.operation)
        for operation, live in self.live.items():
            if live.accepted.key:
                keys.setdefault(live.accepted.key, operation)
        return keys

    @property
    def epoch(self) -> int:
        """Lease epoch of the last start; 0 before the first. The next start takes one more."""
        return self.boot.epoch if self.boot is not None else 0


def fold(entries: Iterable[Entry], onto: Recovered | None = None) -> Recovered:
    """Fold entries, in the journal's order, into a state, or on top of one, which is changed.

    Equal templates become one object, so that many calls of one function weigh little.
    """
    state = Recovered() if onto is None else onto
    templates: dict[Template, Template] = {}
    for entry in entries:
        _STEPS[type(entry)](state, _interned(templates, entry) if isinstance(entry, Accepted) else entry)
    return state


def _interned(templates: dict[Template, Template], entry: Accepted) -> Accepted:
    template = templates.setdefault(entry.template, entry.template)
    return entry if template is entry.template else replace(entry, template=template)


def _booted(state: Recovered, entry: Booted) -> None:
    state.boot = entry
    state.agent_time_s = max(state.agent_time_s, entry.agent_time_s)


def _accepted(state: Recovered, entry: Accepted) -> None:
    state.agent_time_s = max(state.agent_time_s, entry.at_s)
    if entry.operation in state.live or entry.operation in state.finished:
        return
    state.live[entry.operation] = Live(entry)


def _started(state: Recovered, entry: Started) -> None:
    for operation in entry.operations:
        live = state.live.get(operation)
        if live is not None:
            live.attempts += 1
            live.holder, live.epoch = entry.host, entry.epoch


def _returned(state: Recovered, entry: Returned) -> None:
    for operation in entry.operations:
        live = state.live.get(operation)
        if live is not None:
            live.attempts = max(0, live.attempts - 1)
            live.holder, live.epoch = None, 0


def _cancelling(state: Recovered, entry: Cancelling) -> None:
    live = state.live.get(entry.operation)
    if live is not None:
        live.is_cancelling = True


def _ended(state: Recovered, entry: Ended) -> None:
    state.agent_time_s = max(state.agent_time_s, entry.at_s)
    if entry.operation in state.finished:
        return
    outcome = entry.outcome
    finished = Finished(
        operation=entry.operation,
        status=outcome.status,
        ended_at_s=entry.at_s,
        ended_wall_s=entry.wall_s,
        started_wall_s=entry.started_wall_s,
        agent=outcome.agent,
        hops=outcome.hops,
        attempts=outcome.attempts,
        seconds=outcome.seconds,
        result_bytes=outcome.value.size_bytes,
        failure=_in_brief(outcome.failure),
    )
    live = state.live.pop(entry.operation, None)
    if live is not None:
        _describe(finished, live.accepted)
    elif entry.asked is not None:
        _describe_asked(finished, entry.asked)
    state.finished[entry.operation] = finished


def _ended_alike(state: Recovered, entry: EndedAlike) -> None:
    for end in entry.each():
        _ended(state, end)


def _in_brief(failure: Failure | None) -> Failure | None:
    if failure is None:
        return None
    return Failure(failure.reason, failure.type, failure.message[:BRIEF], agent=failure.agent, attempt=failure.attempt)


def _describe(finished: Finished, accepted: Accepted) -> None:
    finished.submitted_at_s = accepted.at_s
    finished.submitted_wall_s = accepted.wall_s
    finished.function = accepted.template.function
    finished.name = accepted.name
    finished.key = accepted.key
    finished.digest = accepted.digest
    finished.callback = accepted.callback
    finished.path = accepted.path
    finished.sender_attempt = accepted.attempt


def _describe_asked(finished: Finished, asked: Asked) -> None:
    finished.submitted_at_s, finished.submitted_wall_s = asked.at_s, asked.wall_s
    finished.function, finished.name = sys.intern(asked.function), asked.name
    finished.key, finished.digest = asked.key, asked.digest


def _was_read(state: Recovered, entry: WasRead) -> None:
    state.agent_time_s = max(state.agent_time_s, entry.at_s)
    for operation in entry.operations:
        finished = state.finished.get(operation)
        if finished is not None and finished.read_at_s is None:
            finished.read_at_s = entry.at_s


def _delivered(state: Recovered, entry: Delivered) -> None:
    for operation in entry.operations:
        finished = state.finished.get(operation)
        if finished is not None:
            finished.is_delivered = True


def _called_back(state: Recovered, entry: CalledBack) -> None:
    for operation in entry.operations:
        finished = state.finished.get(operation)
        if finished is not None:
            finished.is_called_back = True


def _forgotten(state: Recovered, entry: Forgotten) -> None:
    for operation in entry.operations:
        state.live.pop(operation, None)
        state.finished.pop(operation, None)


def _host_added(state: Recovered, entry: HostAdded) -> None:
    state.hosts.pop(entry.name, None)
    state.hosts[entry.name] = entry


def _host_removed(state: Recovered, entry: HostRemoved) -> None:
    state.hosts.pop(entry.name, None)


_STEPS: dict[type[Entry], Callable[[Recovered, Any], None]] = {
    Booted: _booted,
    Accepted: _accepted,
    Started: _started,
    Returned: _returned,
    Cancelling: _cancelling,
    Ended: _ended,
    EndedAlike: _ended_alike,
    WasRead: _was_read,
    Delivered: _delivered,
    CalledBack: _called_back,
    Forgotten: _forgotten,
    HostAdded: _host_added,
    HostRemoved: _host_removed,
}
