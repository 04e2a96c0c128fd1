"""The one rule that says whether a demand fits, and the words for what is missing."""

from __future__ import annotations

import pytest

from schedulers.capacity import Capacity, Kind, Processor, cores, shortfalls, unknowns, with_default_cpu

HOST = Capacity(
    processors=(
        Processor(units=4, name="fast", architecture="x86", speed_ghz=3.0),
        Processor(units=2, kind=Kind.GPU, internal_memory_gb=8.0, property_name="cuda", property_value="12"),
    ),
    memory_mib=1000,
    storage_gb=10.0,
    os_type="Linux",
    software=frozenset({"NUMPY"}),
    queues=frozenset({"SHORT"}),
    labels=frozenset({"edge"}),
)


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        (cores(5), "needs 5 CPU units, the largest matching processor has 4"),
        (cores(1, memory_mib=2000), "needs 2000 MiB of memory, has 1000"),
        (Capacity(processors=(Processor(units=1, name="slow"),)), "needs 1 CPU unit (name slow), the largest"),
        (Capacity(processors=(Processor(units=1, speed_ghz=4.0),)), "(speed 4.0)"),
        (Capacity(processors=(Processor(units=1, kind=Kind.FPGA),)), "needs 1 FPGA unit"),
        (Capacity(storage_gb=11.0), "needs 11.0 GB of storage, has 10.0"),
        (Capacity(os_type="Windows"), "needs os type Windows, has Linux"),
        (Capacity(software=frozenset({"R", "NUMPY"})), "needs software R"),
        (Capacity(queues=frozenset({"LONG"})), "needs queue LONG"),
        (Capacity(labels=frozenset({"cloud"})), "needs label cloud"),
    ],
)
def test_what_is_missing_is_said(demand: Capacity, words: str) -> None:
    """A user reads why a task waits."""
    assert not HOST.covers(demand)
    assert words in "; ".join(shortfalls(HOST, demand))


@pytest.mark.parametrize(
    "demand",
    [
        cores(4, memory_mib=1000),
        Capacity(),
        Capacity(processors=(Processor(units=2, kind=Kind.GPU, internal_memory_gb=8.0),)),
        Capacity(memory_type="DDR", storage_bandwidth=5),
    ],
)
def test_what_fits_has_no_shortfall(demand: Capacity) -> None:
    """An unknown figure, on either side, satisfies the other."""
    assert HOST.covers(demand)
    assert list(shortfalls(HOST, demand)) == []


def test_units_of_two_entries_are_not_added_up() -> None:
    """Two processors of four are not one of eight."""
    host = Capacity(processors=(Processor(units=4), Processor(units=4)))
    assert host.units() == 8
    assert not host.covers(cores(5))


def test_what_is_met_by_ignorance_is_named() -> None:
    """An operator sees what was not known."""
    demand = Capacity(
        processors=(Processor(units=1, name="fast"), Processor(units=1, kind=Kind.FPGA)), memory_mib=5, os_version="7"
    )
    assert list(unknowns(cores(2), demand)) == ["memory mib", "os version", "processor name"]


def test_a_demand_without_cpu_gets_one() -> None:
    """As in the field: no CPU unit asked gives one; entries of 0 units ask for nothing."""
    asked = with_default_cpu(Capacity(processors=(Processor(units=2, kind=Kind.GPU), Processor(units=0))))
    assert [(one.kind, one.units) for one in asked.processors] == [(Kind.CPU, 1), (Kind.GPU, 2)]
    assert with_default_cpu(cores(3)) == cores(3)


def test_fewer_than_no_units_cannot_be() -> None:
    """A capacity that exists can be granted."""
    with pytest.raises(ValueError, match="give 0 or more"):
        Processor(units=-1)
