"""The data versions of one family: which are there, who waits for them, who still needs them.

Law: a version becomes there, failed or cancelled once, and whoever waits for it learns of it once; its memory is let go
once, when nobody can ask for it any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from agentd.model.graph import Standing
from agentd.model.task import Failure, Reason
from agentd.model.values import NO_VALUE, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentd.core.data.lineage import Lineage, Record
    from agentd.model.graph import Spawned
    from agentd.model.task import Outcome

PENDING = -1
"""Standing of a version that a task is yet to make."""
GONE = -2
"""Standing of a version that nobody reads, whose value was let go, and that is made again if one made of it is lost."""


class Child(Struct, eq=False, gc=False):
    """A task of a family, from being asked for until it ends. It refers to versions by number, so no cycle can form."""

    id: int
    """Of the task, once it is one; unique like any task's."""
    spawned: Spawned
    index: int
    """The how-manieth of its family."""
    asked_at: float = 0.0
    """Agent time in seconds."""
    missing: int = 0
    """Versions that it waits for."""
    is_over: bool = False
    """It has left its family: whatever it waited for does not matter any more."""
    why: Failure | None = None
    """Why it was given up."""
    again: Record | None = None
    """It has run before, and what it made was lost: what is known of that."""


class Wait(Struct, eq=False, gc=False):
    """A wait of a family's parent."""

    parent: int
    worker: int
    token: int
    versions: list[int] = []
    wants_values: bool = False
    is_for_tasks: bool = False
    """It waits for tasks: for those up to `upto`, in `group` if that is not 0."""
    group: int = 0
    upto: int = 0
    missing: int = 0
    """Versions, or tasks, that are yet to come."""


class Version(Struct, eq=False, gc=False):
    """What is known of one version."""

    standing: int = PENDING
    maker: int = 0
    """Task that is to make it."""
    value: Payload = NO_VALUE
    failure: Failure | None = None
    """Why there is no value."""
    readers: int = 0
    """Tasks that read it and have not ended."""
    is_kept: bool = True
    """The code that asked for it may still ask for its value."""
    is_pinned: bool = False
    """It is here and kept only since something made of it lies elsewhere."""
    pins: int = 0
    """Records of tasks that read it."""
    record: Record | None = None
    """How it was made, while its value lies elsewhere."""
    waiting: list[Child | Wait] | None = None


UNKNOWN = Version(
    Standing.FAILED,
    failure=Failure(Reason.NOT_DECODABLE, "UnknownVersion", "a value was asked for that was given up, or never made"),
)


class Versions:
    """All versions of one family by number; `parent` is the task whose family it is."""

    __slots__ = ("_by_number", "_lineage", "_release", "parent")

    def __init__(self, parent: int, lineage: Lineage) -> None:
        self.parent = parent
        self._by_number: dict[int, Version] = {}
        self._lineage = lineage
        self._release = lineage.release

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Version:
        """Give a version; one that is not here, or was let go, counts as failed."""
        found = self._by_number.get(number, UNKNOWN)
        return found if found.standing != GONE else UNKNOWN

    def find(self, number: int) -> Version | None:
        """Give what is known of a version."""
        return self._by_number.get(number)

    def remove(self, number: int) -> None:
        """Forget a version whose value was let go."""
        del self._by_number[number]

    def open(self, numbers: Iterable[int], maker: int) -> None:
        """Note versions that a task will make."""
        for number in numbers:
            self._by_number[number] = Version(PENDING, maker)

    def put(self, number: int, value: Payload) -> None:
        """Take a version whose value is there from the beginning."""
        old = self._by_number.get(number)
        if old is not None:
            self._release(value)
        else:
            self._by_number[number] = Version(Standing.THERE, 0, value)

    def read(self, child: Child) -> Version | None:
        """Let a task wait for what it needs; gives a version that it needs and that will never be there, if any."""
        lost: Version | None = None
        versions, spawned = self._by_number, child.spawned
        for number in spawned.reads:
            found = versions.get(number)
            if found is not None:
                found.readers += 1
        for number in (*spawned.reads, *spawned.after):
            version = versions.get(number, UNKNOWN)
            if version.standing == PENDING:
                await_version(version, child)
            elif version.standing:
                lost = version if version.standing != GONE else UNKNOWN
        return lost

    def await_all(self, wait: Wait) -> None:
        """Let a wait wait for all of its versions that are yet to come."""
        for number in wait.versions:
            version = self.get(number)
            if version.standing == PENDING:
                await_version(version, wait)

    def inputs(self, numbers: Iterable[int]) -> tuple[Payload, ...]:
        """Give the values of versions that are there."""
        versions = self._by_number
        return tuple([versions[number].value for number in numbers])

    def settle(self, number: int, standing: int, value: Payload, failure: Failure | None) -> list[Child | Wait]:
        """A version is there, or never will be; gives who waited for it. The first word counts."""
        version = self._by_number.get(number)
        if version is None or version.standing != PENDING:
            self._release(value)
            return []
        waiting = version.waiting or []
        version.standing, version.value, version.failure, version.waiting = standing, value, failure, None
        self._look(number, version)
        return waiting

    def unread(self, numbers: Iterable[int]) -> None:
        """A task that read these has ended."""
        for number in numbers:
            version = self._by_number.get(number)
            if version is not None:
                version.readers -= 1
                self._look(number, version)

    def give_up(self, numbers: Iterable[int]) -> None:
        """The code that asked will not ask for the values of these any more."""
        for number in numbers:
            version = self._by_number.get(number)
            if version is not None:
                version.is_kept = False
                self._look(number, version)

    def close(self) -> None:
        """Keep nothing."""
        for number, version in self._by_number.items():
            if version.record is not None or version.is_pinned:
                self._lineage.forget(self, number, version)
            self._release(version.value)
        self._by_number.clear()

    def _look(self, number: int, version: Version) -> None:
        """Let a version go that nobody can ask for any more."""
        if version.is_kept or version.readers > 0 or version.standing == PENDING:
            return
        if version.pins or version.is_pinned or version.record is not None:
            self._lineage.let_go(self, number, version)
            return
        del self._by_number[number]
        self._release(version.value)


def await_version(version: Version, who: Child | Wait) -> None:
    """Let a task, or a wait, wait for a version that is yet to come."""
    who.missing += 1
    if version.waiting is None:
        version.waiting = [who]
    else:
        version.waiting.append(who)


def failure_of(outcome: Outcome, words: str, attempt: int) -> Failure:
    """Say why a task has no values, signed with where and in which attempt it ran."""
    failure = outcome.failure
    if failure is None:
        return Failure(Reason.NONE, "Cancelled", words, agent=outcome.agent, attempt=attempt)
    return Failure(
        failure.reason,
        failure.type,
        failure.message,
        failure.traceback,
        failure.agent or outcome.agent,
        failure.attempt or attempt,
        failure.exception,
    )
