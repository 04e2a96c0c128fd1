"""The commands of the Makefile: what is promised of them is there, and nothing is defined twice."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest

from tests.architecture.source_tree import ROOT

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def _make(*arguments: str) -> str:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    ).stdout


def test_help_tells_every_target() -> None:
    """Whatever can be made is in the list that `make` prints by itself."""
    said = _make()
    assert {"demo", "test"} <= set(TARGETS)
    assert [target for target in TARGETS if f"make {target} " not in said] == []


def test_the_build_server_runs_the_one_command() -> None:
    """`.ci/run` is `make test` and nothing else."""
    run = ROOT / ".ci" / "run"
    lines = [line for line in run.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert lines == ["set -eu", 'cd "$(dirname "$0")/.."', "exec make test"]
    assert run.stat().st_mode & 0o111


def test_environments_are_made_of_extras_that_there_are() -> None:
    """Each stamp that a target asks for names an extra of the project."""
    asked = set(re.findall(r"installed-(\w+)", MAKEFILE))
    assert asked
    assert asked <= set(EXTRAS)


def test_no_test_is_left_out_of_the_gate_and_none_is_run_twice() -> None:
    """One run of all tests, with the measuring of what is run of the pure half."""
    run, *more = [line for line in _make("--dry-run", "test").splitlines() if re.search("-m pytest -n [0-9]", line)]
    assert not more
    assert run.endswith(" --dist worksteal tests --cov --cov-report=term")


@pytest.mark.parametrize("tool", ["ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"])
def test_the_gate_holds_every_check(tool: str) -> None:
    """No check is only somebody's habit."""
    assert tool in _make("--dry-run", "test")
