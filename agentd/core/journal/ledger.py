"""The operations that must survive: what was accepted, how it ended, which keys stand for it, and when it may go.

Law: an operation reaches one terminal state, once; what a reader has seen of it never changes afterwards.
"""

from __future__ import annotations

from collections import Counter, deque
from copy import copy
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from agentd.core.journal.alike import ALIKE_LEAST, ALIKE_MOST, runs_of
from agentd.core.tasks.task import HERE, Path
from agentd.core.tasks.tracks import Tracks
from agentd.model.errors import RequestError
from agentd.model.task import Failure, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentd.model.task import Template

UNREAD_S = 24 * 3600.0
"""A result that nobody has read, and an idempotency key, is kept at least this long (promised)."""
FORGOTTEN_MOST = 1000
"""Forgotten operations that may stand in a line beside half as many as are kept (chosen)."""
ROOM = 100
"""Of what may be kept one part in so many is made free when there is too much (chosen)."""

_STATUS = attrgetter("status")
STATES = {int(status): status.name.lower() for status in Status}
"""Terminal states by name."""


class Operation(Struct, eq=False, gc=False):
    """What a user, or a neighbour, asked of this agent. Refers to nothing that refers to it, so no cycle can form."""

    id: int
    template: Template
    submitted_at: float
    """Agent time in seconds, as all times here but those that say wall."""
    submitted_wall: float
    key: str = ""
    digest: bytes = b""
    name: str = ""
    callback: str = ""
    path: Path = HERE
    durable: bool = True
    caller: int = 0
    """Session that waits for it, 0 for none."""
    ref: int = 0
    accepted: int = 0
    """Journal number of its acceptance."""
    started_wall: float = 0.0
    ran_on: str = ""
    host: str = ""
    is_cancelling: bool = False
    sender_attempt: int = 1
    sender_epoch: int = 0
    watchers: tuple[int, ...] = ()
    """Who waits for its end besides; mostly nobody, so none has a list of its own."""
    status: int | None = None
    """None until its end is committed."""
    ended_at: float = 0.0
    ended_wall: float = 0.0
    failure: Failure | None = None
    outcome: Outcome | None = None
    """Kept while somebody waits for it; else it is read from the journal."""
    is_ending: bool = False
    """Its end is written and not yet committed."""
    hops: int = 0
    attempts: int = 1
    result_bytes: int = 0
    read_at: float | None = None
    is_delivered: bool = False
    is_called_back: bool = False
    orphan_since: float | None = None
    """When the neighbour that gave it to us was lost; None when it was not, or has asked for it again."""
    user: str = ""
    """Which user of this agent asked for it; empty for a neighbour's, and where nobody can tell."""

    @property
    def is_wanted(self) -> bool:
        """Tell whether somebody may still ask for it: nobody has read it, or a key stands for it."""
        if self.path.sender is not None:
            return not self.is_delivered
        return self.read_at is None or bool(self.key) or (bool(self.callback) and not self.is_called_back)

    @property
    def is_terminal(self) -> bool:
        """Tell whether its end is recorded."""
        return self.status is not None

    @property
    def has_ended(self) -> bool:
        """Tell whether its end is known, recorded or about to be."""
        return self.is_ending or self.status is not None


class Sheaf(Operation, eq=False, gc=False):
    """Ended operations that are alike in all but number and size of the result: kept, and let go, as one.

    A session asked for them and has read their results, and no key stands for them: they do not change any more. What
    they share is in the fields of an operation; `id` is the first of the numbers, `result_bytes` is of all of them.
    """

    numbers: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    """Bytes of the result of each."""

    def one(self, number: int) -> Operation:
        """Make one of them, as it would be by itself."""
        own = {"id": number, "result_bytes": self.sizes[self.numbers.index(number)]}
        return Operation(**{**_fields(self), **own})


def _fields(operation: Operation) -> dict[str, Any]:
    return {name: getattr(operation, name) for name in Operation.__struct_fields__}


def numbers_of(operations: Sequence[Operation]) -> tuple[int, ...]:
    """Give the numbers of operations, those in sheaves too."""
    return tuple(chain.from_iterable([one.numbers if type(one) is Sheaf else (one.id,) for one in operations]))


class Retention(Struct, frozen=True):
    """How long and how much is kept of what has ended."""

    most: int = 100_000
    """Ended operations."""
    age_s: float = 7 * 24 * 3600.0
    bytes: int = 1 << 30
    """Of results."""


class Ledger:
    """All operations by number, oldest first."""

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self.operations: dict[int, Operation] = {}
        """The numbers of those that are in a sheaf lead to that, which has ended."""
        self.keys: dict[str, int] = {}
        self.tracks = Tracks()
        """What is kept of the tasks that operations asked for."""
        self._ended: deque[Operation] = deque()
        """Oldest end first, and among them some that are forgotten."""
        self._spare: deque[Operation] = deque()
        """The same of those that nobody wants any more, those first that have been so for longest."""
        self._kept = self._result_bytes = 0
        self._entries = 0
        """How many of the lines' entries are kept: a sheaf is one."""
        self.counts = dict.fromkeys((status.name.lower() for status in Status), 0)

    def get(self, operation: int) -> Operation | None:
        """Find an operation; one that is in a sheaf is made anew each time."""
        found = self.operations.get(operation)
        return found.one(operation) if type(found) is Sheaf else found

    def known(self, key: str, digest: bytes) -> Operation | None:
        """Find the operation that a key stands for.

        Raises:
            RequestError: 422, the key came with another body before.
        """
        found = self.keys.get(key) if key else None
        if found is None:
            return None
        operation = self.operations[found]
        if operation.digest != digest:
            raise RequestError(
                "this Idempotency-Key was used with another body: send the same body again, or use a new key"
            )
        return operation

    def open(self, operation: Operation) -> None:
        """Enter a new operation."""
        self.operations[operation.id] = operation
        if operation.key:
            self.keys[operation.key] = operation.id

    def close(self, operation: Operation, outcome: Outcome, now: float) -> None:
        """Make an end visible: it is committed."""
        operation.status = outcome.status
        operation.is_ending = False
        operation.failure = outcome.failure
        operation.ended_at = now
        operation.hops = outcome.hops
        operation.attempts = outcome.attempts
        operation.ran_on = outcome.agent
        operation.result_bytes = outcome.value.size_bytes
        self.keep(operation)

    def close_given(
        self, operations: Sequence[Operation], outcomes: Sequence[Outcome], now: float, wall: float
    ) -> None:
        """Make ends visible, as `close` does for each; of operations that neighbours asked for and have to confirm."""
        for operation, outcome in zip(operations, outcomes, strict=True):
            operation.outcome, operation.ended_wall = outcome, wall
        self._enter(operations, outcomes, now)
        self._count(outcomes)

    def close_all(
        self, ended: Sequence[tuple[Operation, Outcome]], now: float, runs: Iterable[tuple[int, int]] | None = None
    ) -> None:
        """Make ends visible, as `close` does for each; of operations that one session asked for and has now read.

        Those that are alike become sheaves; `runs` tells which are, where that is known.
        """
        most = min(ALIKE_MOST, self.retention.most // ROOM)
        if len(ended) < ALIKE_LEAST or most < ALIKE_LEAST:
            self._enter_read(ended, now)
        else:
            for first, last in runs_of(ended) if runs is None else runs:
                for begin in range(first, last, most):
                    some = ended[begin : min(begin + most, last)]
                    if len(some) < ALIKE_LEAST or not self._bind(some, now):
                        self._enter_read(some, now)
        self._count([outcome for _, outcome in ended])

    def _enter_read(self, ended: Sequence[tuple[Operation, Outcome]], now: float) -> None:
        """Keep operations one by one that have ended and were read."""
        operations = [operation for operation, _ in ended]
        for operation in operations:
            operation.is_ending, operation.outcome, operation.read_at = False, None, now
        self._enter(operations, [outcome for _, outcome in ended], now)
        self._spare += [operation for operation in operations if not (operation.key or operation.callback)]

    def _enter(self, operations: Sequence[Operation], outcomes: Sequence[Outcome], now: float) -> None:
        """Say in operations how they ended, and keep them one by one; they are not counted yet."""
        for operation, outcome in zip(operations, outcomes, strict=True):
            operation.status, operation.ended_at, operation.ran_on = outcome.status, now, outcome.agent
            if outcome.failure is not None:  # what most have is there: to set a field takes as long as to look at two
                operation.failure = outcome.failure
            if outcome.hops:
                operation.hops = outcome.hops
            if outcome.attempts != operation.attempts:
                operation.attempts = outcome.attempts
            value = outcome.value
            if value.data or value.parts:
                operation.result_bytes = value.size_bytes if value.parts else len(value.data)
                self._result_bytes += operation.result_bytes
        self._ended += operations
        self._entries += len(operations)

    def _bind(self, ended: Sequence[tuple[Operation, Outcome]], now: float) -> bool:
        """Keep ended operations that are alike as a sheaf; false: their results weigh too much to go at once."""
        first, outcome = ended[0]
        sizes = tuple([len(one.value.data) for _, one in ended])
        total = sum(sizes)
        if total > self.retention.bytes // ROOM:
            return False
        numbers = tuple([operation.id for operation, _ in ended])
        sheaf = Sheaf(**_fields(first), numbers=numbers, sizes=sizes)
        self._enter_read([(sheaf, outcome)], now)
        self._result_bytes += total - sheaf.result_bytes
        sheaf.result_bytes = total
        self.operations.update(dict.fromkeys(numbers, sheaf))
        return True

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        self._kept += len(outcomes)
        for status, many in Counter(map(_STATUS, outcomes)).items():
            self.counts[STATES[status]] += many

    def keep(self, operation: Operation) -> None:
        """Count an ended operation among those that are kept for a while."""
        self._kept += 1
        self._entries += 1
        self._ended.append(operation)
        self.spare(operation)
        self._result_bytes += operation.result_bytes
        if operation.status is not None:
            self.counts[STATES[operation.status]] += 1

    def spare(self, operation: Operation) -> None:
        """Take note that an ended operation may have become unwanted: it was read, delivered, or called back."""
        if not operation.is_wanted and self._is_kept(operation):
            self._spare.append(operation)

    def _is_kept(self, operation: Operation) -> bool:
        return operation.status is not None and self.operations.get(operation.id) is operation

    @property
    def is_over(self) -> bool:
        """Tell whether more is kept than the operator allows."""
        return self._kept > self.retention.most or self._result_bytes > self.retention.bytes

    def expired(self, now: float, most: int = 1000) -> list[Operation]:
        """Strike off what is too old or too much, oldest first; never what is wanted and young.

        Where there is too much, a hundredth more than that goes with it, so that not every end after it costs an entry.

        Args:
            now: agent time in seconds.
            most: how many may go, but for the rest of a sheaf; what is left has its turn at the next call.
        """
        gone: list[Operation] = []
        least = self._kept - most
        self._let_go_old(gone, least, now, self.retention.age_s)
        if self.is_over:
            self._let_go_spare(gone, least)
        if self.is_over:
            self._let_go_old(gone, least, now, 0.0, is_surplus=True)
        self._tidy()
        return gone

    def _let_go_old(
        self, gone: list[Operation], least: int, now: float, age_s: float, *, is_surplus: bool = False
    ) -> None:
        """Drop those that ended first, as long as each is so old, and there is too much where it is for that."""
        ended, operations = self._ended, self.operations
        while ended:
            first = ended[0]
            if operations.get(first.id) is first:
                least_s = UNREAD_S if first.is_wanted else 0.0
                if self._kept <= least or now - first.ended_at < max(age_s, least_s):
                    return
                if is_surplus and not self.is_over:
                    return
                gone.append(self._drop(first))
            ended.popleft()

    def _let_go_spare(self, gone: list[Operation], least: int) -> None:
        """Drop those that nobody has wanted for longest, until there is some room."""
        spare, operations, room = self._spare, self.operations, self.retention
        enough, enough_bytes = room.most - room.most // ROOM, room.bytes - room.bytes // ROOM
        while spare and self._kept > least and (self._kept > enough or self._result_bytes > enough_bytes):
            first = spare.popleft()
            if operations.get(first.id) is first:
                gone.append(self._drop(first))

    def forget(self, operation: Operation) -> None:
        """Keep nothing of an operation that is in no sheaf."""
        self._drop(operation)
        self._tidy()

    def forget_all(self, operations: Sequence[Operation]) -> None:
        """Keep nothing of operations that neighbours asked for, so without keys, many at a time."""
        known, ended = self.operations, self._ended
        dropped = dropped_bytes = 0
        for operation in operations:
            if known.pop(operation.id, None) is operation and operation.status is not None:
                dropped += 1
                dropped_bytes += operation.result_bytes
        self._kept -= dropped
        self._entries -= dropped
        self._result_bytes -= dropped_bytes
        self.tracks.forget_all([operation.id for operation in operations])
        while ended and known.get(ended[0].id) is not ended[0]:  # mostly these: who asks first is told first
            ended.popleft()
        self._tidy()

    def _drop(self, operation: Operation) -> Operation:
        """Strike an operation off, or a sheaf; gives what it was: what lines have of a sheaf is empty then."""
        numbers = operation.numbers if type(operation) is Sheaf else (operation.id,)
        known = self.operations
        if known.get(operation.id) is operation:
            for number in numbers:
                del known[number]
            if operation.status is not None:
                self._kept -= len(numbers)
                self._entries -= 1
                self._result_bytes -= operation.result_bytes
        self.tracks.forget_all(numbers)
        if operation.key and self.keys.get(operation.key) == operation.id:
            del self.keys[operation.key]
        if type(operation) is not Sheaf:
            return operation
        dropped = copy(operation)
        operation.numbers = operation.sizes = ()
        return dropped

    def _tidy(self) -> None:
        """Take the forgotten out of the lines where they are many."""
        for line in (self._ended, self._spare):
            if len(line) > self._entries + self._entries // 2 + FORGOTTEN_MOST:
                left = dict.fromkeys(filter(self._is_kept, line))
                line.clear()
                line.extend(left)
