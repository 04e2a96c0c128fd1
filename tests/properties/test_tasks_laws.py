"""A program with tasks means what it means as a plain program, whatever the order in which its tasks run."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.task_engine import FakePort, program
from tests.fakes.task_programs import TASKS, Run, Step, programs


def _folder(parent: str, name: str) -> Path:
    folder = Path(parent) / name
    folder.mkdir()
    return folder


@settings(max_examples=150)
@given(steps=programs, seed=st.integers(0, 5), threshold=st.sampled_from([32, 1 << 20]))
def test_a_program_gives_what_it_gives_in_place(steps: list[Step], seed: int, threshold: int) -> None:
    """Reads, writes, collections, methods, files and nested tasks: as one after another."""
    with tempfile.TemporaryDirectory() as folder:
        expected = Run(_folder(folder, "plain")).result(copy.deepcopy(steps))
        port = FakePort(str(_folder(folder, "port")), seed=seed, threshold=threshold)
        with program(port, *TASKS):
            found = Run(_folder(folder, "tasks")).result(copy.deepcopy(steps))
        assert found == expected
        assert list((Path(folder) / "port").iterdir()) == []
