"""Laws of the pool: nothing is granted twice, lost or made, whatever is added, taken away, held and given back."""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from agentd.core.placing.pool import Pool, Reservation
from agentd.model.errors import RequestError
from schedulers.capacity import Capacity, Kind, Processor

EXAMPLES = int(os.environ.get("AGENTD_LAW_EXAMPLES", "200"))
PROCESSORS = [
    Processor(units=units, kind=kind, architecture=architecture)
    for architecture in (None, "x86", "arm")
    for kind in (Kind.CPU, Kind.GPU)
    for units in range(5)
]
processors = st.sampled_from(PROCESSORS)  # drawn in one piece: nearly all that the law takes is drawing
capacities = st.builds(
    Capacity, processors=st.lists(processors, max_size=3).map(tuple), memory_mib=st.none() | st.integers(0, 100)
)


class PoolMachine(RuleBasedStateMachine):
    """A pool beside a model that only counts."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(Capacity(processors=(Processor(units=2),), memory_mib=50))
        self.granted = {Kind.CPU: 2, Kind.GPU: 0}
        self.memory = 50
        self.reservations: list[Reservation] = []

    def units(self, capacity: Capacity, kind: Kind) -> int:
        return capacity.units(kind)

    @rule(more=capacities)
    def add(self, more: Capacity) -> None:
        """The operator adds."""
        self.pool.add(more)
        for kind in self.granted:
            self.granted[kind] += more.units(kind)
        self.memory += more.memory_mib or 0

    @rule(less=capacities)
    def reduce(self, less: Capacity) -> None:
        """The operator takes away; what is refused changes nothing."""
        before = (self.pool.capacity, self.pool.free(), self.pool.owed())
        try:
            self.pool.reduce(less)
        except RequestError:
            assert (self.pool.capacity, self.pool.free(), self.pool.owed()) == before
            return
        for kind in self.granted:
            self.granted[kind] -= less.units(kind)
        self.memory -= less.memory_mib or 0

    @rule(target=held, demand=capacities)
    def reserve(self, demand: Capacity) -> Reservation:
        """A task asks; what fits is granted, and only that."""
        fits = self.pool.fits_now(demand)
        reservation = self.pool.reserve(demand)
        assert (reservation is not None) == fits
        if reservation is None:
            return multiple()
        for kind in self.granted:
            assert len(reservation.ids(kind)) == demand.units(kind)
        assert self.pool.could_fit(demand)
        self.reservations.append(reservation)
        return reservation

    @rule(reservation=consumes(held))
    def release(self, reservation: Reservation) -> None:
        """A task has ended."""
        self.pool.release(reservation)
        self.reservations.remove(reservation)

    @invariant()
    def no_unit_is_held_twice(self) -> None:
        for kind in self.granted:
            units = [unit for one in self.reservations for unit in one.ids(kind)]
            units += [unit for slot in self.pool.slots if slot.processor.kind is kind for unit in slot.free]
            assert len(set(units)) == len(units)

    @invariant()
    def nothing_is_lost_or_made(self) -> None:
        for kind, granted in self.granted.items():
            held = sum(len(one.ids(kind)) for one in self.reservations)
            assert self.pool.total(kind) == granted == self.pool.capacity.units(kind)
            assert self.pool.free(kind) + held == granted + self.pool.owed(kind)
            assert self.pool.owed(kind) <= held
        held_memory = sum(one.memory_mib for one in self.reservations)
        assert self.pool.capacity.memory_mib == self.memory
        assert (self.pool.memory_free or 0) + held_memory == self.memory + self.pool.memory_owed

    @invariant()
    def the_units_are_those_of_the_device(self) -> None:
        """Units that left come back under their ids, so that bindings stay within what is there."""
        for kind, granted in self.granted.items():
            ids = [unit for slot in self.pool.slots if slot.processor.kind is kind for unit in slot.free]
            ids += [unit for one in self.reservations for unit in one.ids(kind)]
            assert len(ids) == granted + self.pool.owed(kind)


PoolMachine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=50)
TestPool = PoolMachine.TestCase


def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that does not forgive its debts when it grows is caught."""

    def join(self, processor):
        self.slots.append(type(self.slots[0])(processor, self._new_units(processor.kind, processor.units), 0))

    monkeypatch.setattr(Pool, "_join", join)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            PoolMachine, settings=settings(max_examples=100, stateful_step_count=20, phases=[Phase.generate])
        )
