"""How values were made that lie with other agents only, so that they can be made again when those are lost.

Law: a version whose only copies lie elsewhere is there, is being made again, or has failed with a reason; of versions
that nobody needs nothing is kept, nor of those that are here.

Of a task that made such a version a record is kept: its call, and which versions it read. Those are kept too: one that
is here with its value, one that lies elsewhere as its own record, without its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from agentd.core.data.objects import keys_of
from agentd.core.data.versions import GONE, PENDING
from agentd.model.figures import counted
from agentd.model.graph import Standing
from agentd.model.values import NO_VALUE, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentd.core.data.fetches import Fetches
    from agentd.core.data.objects import Objects
    from agentd.core.data.versions import Version, Versions
    from agentd.core.tasks.task import Shape, Task
    from agentd.model.graph import Spawned
    from agentd.model.values import ObjectKey

RECORDS_MOST = 20_000
"""Records of an agent above which results are brought here at once, so that none is needed (chosen: about 20 MB)."""
PINNED_MOST_BYTES = 256 << 20
"""The same for values here that are kept for records alone (chosen: as much as a worker's pool)."""


class Record(Struct, eq=False, gc=False):
    """A task that has ended and may have to run again."""

    task: int
    spawned: Spawned
    """Its payload is kept for this record."""
    shape: Shape
    attempt: int
    retries: int
    blames: int
    agent: str
    """Who ran it."""
    needed: int = 0
    """Versions that it made and that refer to it."""

    @property
    def objection(self) -> str:
        """Say why it may not run again; empty: it may."""
        template, name = self.shape.template, self.name
        if not template.idempotent:
            return f"{name} may run only once"
        if self.attempt >= template.max_attempts:
            return f"{name} has run {counted(self.attempt, 'time')}, as often as it may"
        return ""

    def count(self, task: Task) -> None:
        """Have a task go on counting where this one was."""
        task.attempt, task.retries, task.blames = self.attempt, self.retries, self.blames

    @property
    def name(self) -> str:
        """What people call its function."""
        return self.shape.template.name or self.shape.template.function


class Plan(NamedTuple):
    """What is to be done about lost versions of one family."""

    again: list[Record]
    """Tasks that run again, each after those that it needs."""
    remade: list[int]
    """Versions that are yet to come once more."""
    failed: list[tuple[int, str, str]]
    """Versions that cannot be made again, why, and the agent that had them."""


class Lineage:
    """The records of all families of this agent."""

    def __init__(self, objects: Objects, fetches: Fetches) -> None:
        self._objects = objects
        self._by_key: dict[ObjectKey, dict[tuple[int, int], Versions]] = {}
        """Of objects that lie elsewhere: the versions that consist of them, by parent and number."""
        self.lost: dict[int, set[int]] = {}
        """Versions whose value was lost, by parent: what is to be made again before this drain is over."""
        self.records = 0
        self.pinned_bytes = 0
        fetches.on_lost.append(self._object_lost)
        fetches.on_arrived.append(self._object_arrived)

    @property
    def is_full(self) -> bool:
        """Tell whether no more is to be kept, so that results are to come here at once."""
        return self.records >= RECORDS_MOST or self.pinned_bytes >= PINNED_MOST_BYTES

    def __len__(self) -> int:
        return self.records + len(self._by_key)

    def release(self, payload: Payload) -> None:
        """Let go of the memory that a value lies in, and of the objects that it names."""
        if payload.parts:
            self._objects.release(payload)

    # --- taking note ------------------------------------------------------------------------------------------

    def note(self, versions: Versions, spawned: Spawned, task: Task, agent: str) -> None:
        """A task has ended, and of what it made something lies elsewhere: keep what is needed to run it again."""
        made = [(number, versions.find(number)) for number in spawned.makes]
        apart = [(number, one) for number, one in made if one is not None and self._objects.lies_elsewhere(one.value)]
        if not apart:
            return
        self._objects.retain(task.payload)
        call = _with_payload(spawned, task.payload)
        record = Record(
            task.id, call, task.shape.of or task.shape, task.attempt, task.retries, task.blames, agent, len(apart)
        )
        self.records += 1
        for number, version in apart:
            version.record = record
            self._list(versions, number, version.value)
        for number in spawned.reads:
            found = versions.find(number)
            if found is not None:
                found.pins += 1

    def _list(self, versions: Versions, number: int, value: Payload) -> None:
        for key in keys_of(value):
            self._by_key.setdefault(key, {})[versions.parent, number] = versions

    def _unlist(self, versions: Versions, number: int, value: Payload) -> None:
        for key in keys_of(value):
            listed = self._by_key.get(key)
            if listed is not None:
                listed.pop((versions.parent, number), None)
                if not listed:
                    del self._by_key[key]

    # --- letting go -------------------------------------------------------------------------------------------

    def let_go(self, versions: Versions, number: int, version: Version) -> None:
        """Nobody can ask for a version any more: its value goes, and its record unless another one needs it."""
        self._look(versions, [(number, version)])

    def _look(self, versions: Versions, todo: list[tuple[int, Version]]) -> None:
        """Let versions go that nobody needs, and those that only they needed."""
        while todo:
            number, version = todo.pop()
            if version.is_kept or version.readers > 0 or version.standing == PENDING:
                continue
            if version.pins:
                self._thin(versions, number, version)
                continue
            if versions.find(number) is not version:
                continue
            versions.remove(number)
            self._unpin(version)
            todo += self._part(versions, number, version)
            self.release(version.value)

    def _thin(self, versions: Versions, number: int, version: Version) -> None:
        """A version is needed for records alone: what can be made again need not be kept."""
        if version.standing != Standing.THERE:
            return
        if version.record is not None:
            self._unlist(versions, number, version.value)
            self.release(version.value)
            version.value, version.standing = NO_VALUE, GONE
        elif not version.is_pinned:
            version.is_pinned = True
            self.pinned_bytes += version.value.size_bytes

    def _unpin(self, version: Version) -> None:
        if version.is_pinned:
            version.is_pinned = False
            self.pinned_bytes -= version.value.size_bytes

    def part(self, versions: Versions, number: int, version: Version) -> None:
        """A version does not need its record any more."""
        self._look(versions, self._part(versions, number, version))

    def _part(self, versions: Versions, number: int, version: Version) -> list[tuple[int, Version]]:
        """Take a version off its record; gives the versions that are to be looked at if that was the last."""
        record, version.record = version.record, None
        if record is None:
            return []
        self._unlist(versions, number, version.value)
        record.needed -= 1
        if record.needed:
            return []
        self.records -= 1
        self.release(record.spawned.payload)
        read = []
        for number_read in record.spawned.reads:
            found = versions.find(number_read)
            if found is not None:
                found.pins -= 1
                read.append((number_read, found))
        return read

    def forget(self, versions: Versions, number: int, version: Version) -> None:
        """A family is over."""
        self._unpin(version)
        self._part(versions, number, version)
        self.lost.pop(versions.parent, None)

    # --- what happens to objects ------------------------------------------------------------------------------

    def _object_lost(self, key: ObjectKey, now: float) -> None:  # noqa: ARG002 - as all that is called back
        for parent, number in self._by_key.get(key, ()):
            self.lost.setdefault(parent, set()).add(number)

    def _object_arrived(self, key: ObjectKey, now: float) -> None:  # noqa: ARG002
        """An object is here: versions that are wholly here now cannot be lost any more."""
        for (parent, number), versions in list(self._by_key.get(key, {}).items()):
            version = versions.find(number)
            if version is not None and not self._objects.lies_elsewhere(version.value):
                version.value = self._objects.localized(version.value)
                self.lost.get(parent, set()).discard(number)
                self.part(versions, number, version)

    def is_lost(self, parent: int, numbers: Iterable[int]) -> bool:
        """Tell whether the value of one of these versions was found to be lost in this drain."""
        lost = self.lost.get(parent)
        return lost is not None and not lost.isdisjoint(numbers)

    # --- making again -----------------------------------------------------------------------------------------

    def plan(self, versions: Versions, lost: set[int], refusal: str) -> Plan:
        """Find what has to run again for lost versions to be there, the first ones first, and what cannot be."""
        verdicts: dict[int, str] = {}
        """By version, in the order of making: why it cannot be made again; empty: it can."""
        needs_of: dict[int, list[int]] = {}
        todo = [(number, False) for number in sorted(lost, reverse=True)]
        while todo:
            number, is_open = todo.pop()
            version = versions.find(number)
            if version is None or version.record is None or number in verdicts:
                continue
            needs = [one for one in version.record.spawned.reads if self._is_wanting(versions, one, lost)]
            if not is_open:
                todo.append((number, True))
                todo += [(one, False) for one in needs if one not in verdicts]
                continue
            objection = version.record.objection or _objection(versions, version.record, needs, verdicts)
            verdicts[number], needs_of[number] = refusal or objection, needs
        return self._chosen(versions, lost, verdicts, needs_of)

    @staticmethod
    def _chosen(versions: Versions, lost: set[int], verdicts: dict[int, str], needs_of: dict[int, list[int]]) -> Plan:
        """Of all that was looked at choose what is needed for lost versions that can be made again."""
        wanted = {number for number in lost if verdicts.get(number) == ""}
        for number in reversed(verdicts):
            if number in wanted:
                wanted.update(needs_of[number])
        records = {number: version.record for number in verdicts if (version := versions.find(number)) is not None}
        again = {record.task: record for number, record in records.items() if record is not None and number in wanted}
        failed = [
            (number, words, record.agent)
            for number, words in verdicts.items()
            if words and number in lost and (record := records.get(number)) is not None
        ]
        return Plan(list(again.values()), [number for number in verdicts if number in wanted], failed)

    def _is_wanting(self, versions: Versions, number: int, lost: set[int]) -> bool:
        """Tell whether a version has to be made again before it can be read."""
        version = versions.find(number)
        if version is None or version.record is None:
            return False
        return number in lost or version.standing == GONE


def _objection(versions: Versions, record: Record, needs: list[int], verdicts: dict[int, str]) -> str:
    for number in needs:
        if verdicts.get(number):
            return f"{record.name} cannot run again: {verdicts[number]}"
    for number in record.spawned.reads:
        version = versions.find(number)
        if version is None or version.standing in {Standing.FAILED, Standing.CANCELLED}:
            return f"{record.name} cannot run again: what it read is not there any more"
    return ""


def _with_payload(spawned: Spawned, payload: Payload) -> Spawned:
    """Give a call with its payload as it is kept now."""
    if spawned.payload is payload:
        return spawned
    return replace(spawned, payload=payload)
