"""The resources that this agent can grant now: what there is, what is reserved, what is owed.

Law: for every entry, total = free + reserved, and owed is part of reserved; nothing is ever granted twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import Struct

from agentd.model.errors import BrokenInvariant, RequestError
from schedulers.capacity import Capacity, Kind, Processor, shortfalls, suits

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWERS_MOST = 1024
"""Demands of which the answer is remembered (chosen: far above the shapes that are in use at one time)."""


class Slot(Struct, eq=False):
    """One processor entry of the pool: its units by id."""

    processor: Processor
    free: list[int]
    total: int
    owed: int = 0
    """Units that leave the pool as soon as whoever holds them lets go."""


class Reservation(Struct, eq=False, frozen=True):
    """What is granted to a line of tasks; given back exactly once."""

    units: tuple[tuple[Slot, tuple[int, ...]], ...]
    memory_mib: int = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether it has no units of any kind."""
        return all(not units for _, units in self.units)

    def ids(self, kind: Kind) -> tuple[int, ...]:
        """Give the ids of the units of one kind."""
        return tuple(unit for slot, units in self.units if slot.processor.kind is kind for unit in units)


Choice = list[tuple[Slot, int]]
"""What a demand would be granted: entries, and how many units of each."""


def _alike(one: Processor, other: Processor) -> bool:
    """Tell whether units may join an entry: the same in everything, or unknown on one side."""
    return suits(one, replace(other, units=0)) and suits(other, replace(one, units=0))


def merged(here: Capacity, more: Capacity, memory_mib: int | None) -> Capacity:
    """Join what is said beside the processors, as the field does.

    Bandwidth adds up where both are known, of storage and of the wall clock the larger figure counts, texts are taken
    where there was none, and sets are united.
    """
    bandwidth = here.storage_bandwidth
    if bandwidth is not None and more.storage_bandwidth is not None:
        bandwidth += more.storage_bandwidth
    return replace(
        here,
        memory_mib=memory_mib,
        memory_type=here.memory_type or more.memory_type,
        storage_gb=_larger(here.storage_gb, more.storage_gb),
        storage_type=here.storage_type or more.storage_type,
        storage_bandwidth=bandwidth,
        os_type=here.os_type or more.os_type,
        os_distribution=here.os_distribution or more.os_distribution,
        os_version=here.os_version or more.os_version,
        software=here.software | more.software,
        queues=here.queues | more.queues,
        labels=here.labels | more.labels,
        wall_clock_limit_s=_larger(here.wall_clock_limit_s, more.wall_clock_limit_s),
    )


def _larger(here: float | None, more: float | None) -> float | None:
    return max((figure for figure in (here, more) if figure is not None), default=None)


def _narrowness(wanted: tuple[int, list[Slot]]) -> tuple[int, int]:
    """Give what is to be placed first: what suits the fewest entries, and of that the largest."""
    return len(wanted[1]), -wanted[0]


def _fit_side_by_side(suiting: list[tuple[int, list[Slot]]]) -> bool:
    """Tell whether all that is asked for fits at the same time when everything is free."""
    left = {id(slot): slot.total - slot.owed for _, slots in suiting for slot in slots}
    for units, slots in suiting:
        slot = next((slot for slot in slots if left[id(slot)] >= units), None)
        if slot is None:
            return False
        left[id(slot)] -= units
    return True


def _suiting(capacity: Capacity, slots: list[Slot], demand: Capacity) -> list[tuple[int, list[Slot]]] | None:
    """Give for each processor asked for its units and the entries that suit; None when a demand can never fit."""
    if not capacity.covers(demand):
        return None
    suiting = [(asked.units, [slot for slot in slots if suits(slot.processor, asked)]) for asked in demand.processors]
    if len(suiting) > 1:
        suiting.sort(key=_narrowness)
        return suiting if _fit_side_by_side(suiting) else None
    return suiting


class Pool:
    """The capacity of one host, and who has it."""

    def __init__(self, capacity: Capacity) -> None:
        self.declared = capacity
        """What it was made with."""
        self.begin(capacity)

    def begin(self, capacity: Capacity) -> None:
        """Begin with another capacity, before anything of it is granted."""
        self.capacity = capacity
        self.slots: list[Slot] = []
        self.memory_free = capacity.memory_mib
        self.memory_owed = 0
        self.in_debt = False
        """Something is owed: what ends repays before anything is granted in its place."""
        self._next_unit: dict[Kind, int] = {}
        self._gone: dict[Kind, list[int]] = {}
        """Ids of units that left, to be used again first: they stay within what the device has."""
        self.cpus = 0
        """CPU units that are here, those included that leave when their holders let go."""
        self._version = 0
        self._answers: dict[int, tuple[Capacity, int, Choice | None]] = {}
        """By identity of the demand, since demands are interned and hashing one costs more than the answer."""
        self._possible: dict[int, tuple[Capacity, list[tuple[int, list[Slot]]] | None]] = {}
        """Of each demand: for each processor asked for its units and the entries that suit; None: it can never fit."""
        for processor in capacity.processors:
            ids = self._new_units(processor.kind, processor.units)
            self.slots.append(Slot(processor, ids, processor.units))
        self._describe()

    # --- questions --------------------------------------------------------------------------------------------

    def fits_now(self, demand: Capacity) -> bool:
        """Tell whether a demand could be reserved this moment; remembered until the pool changes."""
        return self._choice(demand) is not None

    def could_fit(self, demand: Capacity) -> bool:
        """Tell whether a demand would fit if everything were free; remembered until the pool is reshaped."""
        return self._suiting(demand) is not None

    def _suiting(self, demand: Capacity) -> list[tuple[int, list[Slot]]] | None:
        """Give for each processor asked for its units and the entries that suit; None when it can never fit."""
        known = self._possible.get(id(demand))
        if known is None or known[0] is not demand:
            if len(self._possible) >= ANSWERS_MOST:
                self._possible.clear()
            known = self._possible[id(demand)] = (demand, _suiting(self.capacity, self.slots, demand))
        return known[1]

    def free(self, kind: Kind = Kind.CPU) -> int:
        """Count the units of a kind that nobody holds."""
        return sum([len(slot.free) for slot in self.slots if slot.processor.kind is kind])

    def total(self, kind: Kind = Kind.CPU) -> int:
        """Count the units of a kind that will remain once all debts are paid."""
        return sum([slot.total - slot.owed for slot in self.slots if slot.processor.kind is kind])

    def owed(self, kind: Kind = Kind.CPU) -> int:
        """Count the units of a kind that leave when their holders let go."""
        return sum([slot.owed for slot in self.slots if slot.processor.kind is kind])

    # --- reserving --------------------------------------------------------------------------------------------

    def _choice(self, demand: Capacity) -> Choice | None:
        """Find what a demand would be granted this moment; remembered until the pool changes."""
        known = self._answers.get(id(demand))
        if known is not None and known[1] == self._version and known[0] is demand:
            return known[2]
        possible = self._possible.get(id(demand))
        suiting = possible[1] if possible is not None and possible[0] is demand else self._suiting(demand)
        choice = None if suiting is None else self._choose(demand, suiting)
        if len(self._answers) >= ANSWERS_MOST:
            self._answers.clear()
        self._answers[id(demand)] = (demand, self._version, choice)
        return choice

    def _choose(self, demand: Capacity, suiting: list[tuple[int, list[Slot]]]) -> Choice | None:
        """Find for each processor asked for one entry with enough free units; None when there is none."""
        if demand.memory_mib is not None and self.memory_free is not None and self.memory_free < demand.memory_mib:
            return None
        if len(suiting) == 1:  # nearly all demands are for CPU units alone
            units, slots = suiting[0]
            for slot in slots:
                if len(slot.free) >= units:
                    return [(slot, units)]
            return None
        chosen: Choice = []
        for units, slots in suiting:
            for slot in slots:
                taken = sum([taken for other, taken in chosen if other is slot]) if chosen else 0
                if len(slot.free) - taken >= units:
                    chosen.append((slot, units))
                    break
            else:
                return None
        return chosen

    def reserve(self, demand: Capacity) -> Reservation | None:
        """Grant a demand, or None when it does not fit now."""
        chosen = self._choice(demand)
        if chosen is None:
            return None
        granted = []
        for slot, units in chosen:
            granted.append((slot, tuple(slot.free[:units])))
            del slot.free[:units]
        memory = demand.memory_mib or 0
        if self.memory_free is not None:
            self.memory_free -= memory
        self._version += 1
        return Reservation(tuple(granted), memory)

    def release(self, reservation: Reservation) -> None:
        """Take back what was granted; debts are repaid first."""
        for slot, units in reservation.units:
            kept = units if not slot.owed else self._repay(slot, units)
            free = slot.free
            free += kept
            free.sort()
            if len(free) > slot.total:
                raise BrokenInvariant(f"more units of {slot.processor} are free than there are")
        if self.memory_free is not None:
            repaid = min(self.memory_owed, reservation.memory_mib)
            self.memory_owed -= repaid
            self.memory_free += reservation.memory_mib - repaid
            if repaid:
                self._reckon()
        self._version += 1

    def _repay(self, slot: Slot, units: tuple[int, ...]) -> tuple[int, ...]:
        """Let go of as many units as an entry owes; gives the others."""
        repaid = min(slot.owed, len(units))
        slot.owed -= repaid
        slot.total -= repaid
        kept = len(units) - repaid
        self._leave(slot, units[kept:])
        self.slots = [slot for slot in self.slots if slot.total > 0]
        self._describe()
        return units[:kept]

    def _reckon(self) -> None:
        self.in_debt = bool(self.memory_owed) or any(slot.owed for slot in self.slots)

    # --- reshaping --------------------------------------------------------------------------------------------

    def _join(self, processor: Processor) -> None:
        """Let units join the entry that they are alike to; those that it owes are forgiven before any is new."""
        slot = next((slot for slot in self.slots if _alike(slot.processor, processor)), None)
        if slot is None:
            slot = Slot(processor, [], 0)
            self.slots.append(slot)
        forgiven = min(slot.owed, processor.units)
        slot.owed -= forgiven
        slot.free.extend(self._new_units(processor.kind, processor.units - forgiven))
        slot.free.sort()
        slot.total += processor.units - forgiven

    def _new_units(self, kind: Kind, count: int) -> list[int]:
        gone = sorted(self._gone.get(kind, ()))
        again, self._gone[kind] = gone[:count], gone[count:]
        first = self._next_unit.get(kind, 0)
        self._next_unit[kind] = first + count - len(again)
        return [*again, *range(first, self._next_unit[kind])]

    def _leave(self, slot: Slot, units: Iterable[int]) -> None:
        self._gone.setdefault(slot.processor.kind, []).extend(units)

    def add(self, more: Capacity) -> None:
        """Let the host grow: units join the entry that they are alike to, figures add where both are known."""
        for processor in more.processors:
            self._join(processor)
        memory = self.capacity.memory_mib
        if memory is not None and more.memory_mib is not None:
            memory += more.memory_mib
            forgiven = min(self.memory_owed, more.memory_mib)
            self.memory_owed -= forgiven
            self.memory_free = (self.memory_free or 0) + more.memory_mib - forgiven
        self.capacity = merged(self.capacity, more, memory)
        self._describe()

    def reduce(self, less: Capacity) -> None:
        """Take capacity away: idle units leave at once, the rest is owed by whoever holds it.

        Raises:
            RequestError: there is not that much; nothing was taken.
        """
        plan = self._reduction(less)
        for slot, units in plan:
            idle = min(units, len(slot.free))
            self._leave(slot, slot.free[len(slot.free) - idle :])
            del slot.free[len(slot.free) - idle :]
            slot.total -= idle
            slot.owed += units - idle
        if less.memory_mib is not None and self.memory_free is not None and self.capacity.memory_mib is not None:
            idle = min(less.memory_mib, self.memory_free)
            self.memory_free -= idle
            self.memory_owed += less.memory_mib - idle
            self.capacity = replace(self.capacity, memory_mib=self.capacity.memory_mib - less.memory_mib)
        self.slots = [slot for slot in self.slots if slot.total > 0]
        self._describe()

    def _reduction(self, less: Capacity) -> list[tuple[Slot, int]]:
        plan: list[tuple[Slot, int]] = []
        for asked in less.processors:
            for slot in self.slots:
                planned = sum(units for other, units in plan if other is slot)
                if suits(slot.processor, asked) and slot.total - slot.owed - planned >= asked.units:
                    plan.append((slot, asked.units))
                    break
            else:
                raise RequestError(
                    "cannot take away that much: " + "; ".join(shortfalls(self.capacity, less)), status=409
                )
        known = self.capacity.memory_mib
        if less.memory_mib is not None and known is not None and known < less.memory_mib:
            raise RequestError(f"cannot take away {less.memory_mib} MiB of memory: there are {known}", status=409)
        return plan

    def _describe(self) -> None:
        """Work the present processors, debts taken off, into the capacity that answers questions."""
        self.capacity = replace(
            self.capacity,
            processors=tuple(
                replace(slot.processor, units=slot.total - slot.owed) for slot in self.slots if slot.total > slot.owed
            ),
        )
        self.cpus = sum(slot.total for slot in self.slots if slot.processor.kind is Kind.CPU)
        self._reckon()
        self._version += 1
        self._answers.clear()
        self._possible.clear()


def simultaneous(capacity: Capacity, demand: Capacity) -> int:
    """Count how many tasks of one demand a host of this capacity could run at once."""
    if _suiting(capacity, [Slot(entry, [], entry.units) for entry in capacity.processors], demand) is None:
        return 0
    kinds = [asked.kind for asked in demand.processors]
    counts = [
        max(
            max(entry.units for entry in capacity.processors if suits(entry, asked))
            // (asked.units if kinds.count(asked.kind) == 1 else demand.units(asked.kind)),
            1,
        )
        for asked in demand.processors
        if asked.units
    ]
    if demand.memory_mib and capacity.memory_mib is not None:
        counts.append(capacity.memory_mib // demand.memory_mib)
    return min(counts, default=1)
