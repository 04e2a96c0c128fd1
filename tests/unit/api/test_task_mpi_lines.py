"""Command lines of MPI runs, word by word: a runner that writes down what it was given stands for the real one."""

from __future__ import annotations

import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.api import constraint, mpi, mpmd_mpi, task
from agentd.api.tasks.definition import definition_of


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put programs on the PATH: `on_path(name, source)`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def put(name: str, source: str) -> Path:
        file = folder / name
        file.write_text(f"#!{sys.executable}\n{source}")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return file

    return put


SAY = "import os, sys; open(os.environ['SAID'], 'w').write(' '.join(sys.argv[1:])); sys.exit(3)"


@pytest.mark.parametrize(
    ("words", "line", "nodes"),
    [
        ({"processes": 4}, "-n 4 {a} x", 4),
        ({"processes": "6", "processes_per_node": 2, "flags": "--bind core"}, "--bind core -n 6 {a} x", 3),
        ({"processes": "$RANKS", "processes_per_node": "$EACH"}, "-n 5 {a} x", 2),
        ({"processes": 2, "scale_by_cu": True}, "-n 6 {a} x", 2),
        ({"processes": "n * 2", "args": "-v {{n}} $RANKS"}, "-n 8 {a} -v 4 5", 8),
        ({"computing_nodes": 3}, "-n 3 {a} x", 3),
        ({}, "-n 1 {a} x", 1),
    ],
)
def test_the_command_line_of_an_mpi_run(
    on_path: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: Any,
    line: str,
    nodes: int,
) -> None:
    """Flags, processes, the program and its arguments; as many nodes as the processes need; the runner's exit code."""
    on_path("mpirun", SAY)
    program = on_path("a", "")
    for name, value in {"RANKS": "5", "EACH": "3", "SAID": str(tmp_path / "said")}.items():
        monkeypatch.setenv(name, value)

    def run(word: Any, n: Any = None) -> Any:
        return word, n

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        above = mpi(runner="mpirun", binary="a", fail_by_exit_value=False, **words)
        run = constraint(computing_units=3)(above(task(returns=int)(run)))
    assert run("x", *([4] if "n" in str(words.get("processes", "")) else [])) == 3
    assert (tmp_path / "said").read_text() == line.format(a=program)
    found = definition_of(run).options["nodes"]  # type: ignore[union-attr]
    assert (found({"word": "x", "n": 4}) if callable(found) else found) == nodes


def test_several_programs_in_one_mpi_run(
    on_path: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Parted as launchers have it, each with its processes and arguments; the nodes are those of all of them."""
    on_path("mpirun", SAY)
    sea, air = on_path("sea", ""), on_path("air", "")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.setenv("RANKS", "3")
    programs = [{"binary": "sea", "processes": "$RANKS", "args": "-d {{first}}"}, {"binary": "{{name}}"}]

    @mpmd_mpi(runner="mpirun", programs=programs, processes_per_node=2, fail_by_exit_value=False)
    @task(returns=int)
    def run(first: Any, name: Any) -> Any:
        return first, name

    assert run("next monday", "air") == 3
    assert (tmp_path / "said").read_text() == f"-n 3 {sea} -d next monday : -n 1 {air}"
    assert definition_of(run).options["nodes"]({"first": "", "name": ""}) == 2  # type: ignore[union-attr]
