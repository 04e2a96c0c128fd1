"""What is measured of the pure half: the tests of just that, and samples of its laws."""

from __future__ import annotations

import sys
import tomllib
from types import FrameType
from typing import Any

import pytest

from tests.architecture.source_tree import ROOT
from tests.fakes.tracing import HISTORIES, MEASURED, STEP, TESTS, is_measured, sampled, sampled_histories, traced_by
from tests.properties.test_pool_laws import PoolMachine

SOURCES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["coverage"]["run"]["source"]


def test_each_measured_package_has_its_folder_of_tests() -> None:
    """What is measured and what measures it are named alike."""
    assert {f"unit/{source.rpartition('.')[2]}" for source in SOURCES} <= set(MEASURED)
    assert [folder for folder in MEASURED if not (TESTS / folder).is_dir()] == []


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("unit/core/placing/test_queue.py", True),
        ("properties/test_pool_laws.py", True),
        ("scenarios/test_scenarios.py", True),
        *((f"properties/test_any{end}", False) for end in HISTORIES),
        ("unit/api/test_values.py", False),
        ("integration/test_daemon_drain.py", False),
    ],
)
def test_only_tests_of_the_pure_half_count(file: str, counts: bool) -> None:
    """Neither what goes through all of it by the way, nor tests of the rest."""
    assert is_measured(TESTS / file) is counts


class Tracer:
    """Counts calls, as a tool that measures does."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "call":
            self.calls.append(frame.f_code.co_name)


def test_a_law_is_traced_in_one_of_some_examples() -> None:
    """All examples run, with what they are given; a few of them are seen."""
    found: list[int] = []
    tracer = Tracer()

    def law(number: int, *, more: int) -> None:
        found.append(number + more)

    with traced_by(None):
        example = sampled(law, tracer)
        for number in range(3 * STEP):
            example(number, more=1)
    assert found == list(range(1, 3 * STEP + 1))
    assert tracer.calls.count("law") == 3


def test_some_histories_of_a_state_machine_are_traced() -> None:
    """All are played; a few of them are seen, and none after them."""
    tracer, lengths = Tracer(), []

    class Machine:
        def __init__(self, length: int) -> None:
            self.length = length

        def play(self) -> None:
            lengths.append(self.length)

    with traced_by(None):
        with sampled_histories(Machine, tracer):
            for number in range(3 * STEP):
                Machine(number).play()
        Machine(-1).play()
    assert lengths == [*range(3 * STEP), -1]
    assert tracer.calls.count("play") == 3


def test_each_state_machine_says_its_class() -> None:
    """What is sampled is found by what hypothesis notes on its test."""
    assert PoolMachine.TestCase.runTest._hypothesis_state_machine_class is PoolMachine  # type: ignore[attr-defined]


def test_what_traced_before_goes_on_after_a_failure() -> None:
    """Nobody's tracer is lost, whatever a test does."""
    before = sys.gettrace()
    with pytest.raises(ZeroDivisionError), traced_by(Tracer()):
        1 / 0  # noqa: B018
    assert sys.gettrace() is before
