"""The operations that must survive: what was accepted, how it ended, which keys stand for it, and when it may go.

Law: an operation reaches one terminal state, once; what a reader has seen of it never changes afterwards.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from agentd.core.tasks.task import HERE, Path
from agentd.core.tasks.tracks import Tracks
from agentd.model.errors import RequestError
from agentd.model.task import Failure, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.model.task import Template

UNREAD_S = 24 * 3600.0
"""A result that nobody has read, and an idempotency key, is kept at least this long (promised)."""


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
    is_put_off: bool = False
    """Its acceptance is not written yet; nobody has been told of it."""
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
        self.keys: dict[str, int] = {}
        self.tracks = Tracks()
        """What is kept of the tasks that operations asked for."""
        self._ended: OrderedDict[int, Operation] = OrderedDict()
        """Oldest end first."""
        self._spare: OrderedDict[int, Operation] = OrderedDict()
        """Those of them that nobody wants any more, those first that have been so for longest."""
        self._result_bytes = 0
        self.counts = dict.fromkeys((status.name.lower() for status in Status), 0)

    def get(self, operation: int) -> Operation | None:
        """Find an operation."""
        return self.operations.get(operation)

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

    def close_all(self, ended: Sequence[tuple[Operation, Outcome]], now: float) -> None:
        """Make ends visible, as `close` does for each; of operations that sessions asked for and have now read."""
        kept, spare, counts = self._ended, self._spare, self.counts
        for operation, outcome in ended:
            operation.status, operation.is_ending = outcome.status, False
            operation.failure, operation.outcome = outcome.failure, None
            operation.ended_at = operation.read_at = now
            operation.hops, operation.attempts, operation.ran_on = outcome.hops, outcome.attempts, outcome.agent
            value = outcome.value
            size = operation.result_bytes = value.size_bytes if value.parts else len(value.data)
            self._result_bytes += size
            kept[operation.id] = operation
            if not (operation.key or operation.callback):
                spare[operation.id] = operation
            counts[STATES[outcome.status]] += 1

    def keep(self, operation: Operation) -> None:
        """Count an ended operation among those that are kept for a while."""
        self._ended[operation.id] = operation
        self.spare(operation)
        self._result_bytes += operation.result_bytes
        if operation.status is not None:
            self.counts[STATES[operation.status]] += 1

    def spare(self, operation: Operation) -> None:
        """Take note that an ended operation may have become unwanted: it was read, delivered, or called back."""
        if operation.id in self._ended and not operation.is_wanted:
            self._spare[operation.id] = operation

    @property
    def is_over(self) -> bool:
        """Tell whether more is kept than the operator allows."""
        return len(self._ended) > self.retention.most or self._result_bytes > self.retention.bytes

    def expired(self, now: float, most: int = 1000) -> list[Operation]:
        """Strike off what is too old or too much, oldest first; never what is wanted and young.

        Args:
            now: agent time in seconds.
            most: how many may go; the rest has its turn at the next call.
        """
        gone: list[Operation] = []
        while len(gone) < most:
            operation = self._next_to_go(now)
            if operation is None:
                break
            self.forget(operation)
            gone.append(operation)
        return gone

    def _next_to_go(self, now: float) -> Operation | None:
        oldest = next(iter(self._ended.values()), None)
        if oldest is None:
            return None
        age_s, least_s = now - oldest.ended_at, UNREAD_S if oldest.is_wanted else 0.0
        if age_s >= max(self.retention.age_s, least_s):
            return oldest
        if not self.is_over:
            return None
        spare = next(iter(self._spare.values()), None)
        return spare or (oldest if age_s >= least_s else None)

    def forget(self, operation: Operation) -> None:
        """Keep nothing of an operation."""
        self.operations.pop(operation.id, None)
        self.tracks.forget(operation.id)
        self._spare.pop(operation.id, None)
        if self._ended.pop(operation.id, None) is not None:
            self._result_bytes -= operation.result_bytes
        if operation.key and self.keys.get(operation.key) == operation.id:
            del self.keys[operation.key]
