"""Every command that is installed answers."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import pytest

from tests.architecture.source_tree import ROOT

SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
DEADLINE_S = 60
"""Chosen: far above what a start takes on a busy machine."""


def _enter(name: str, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Do what the installed script of this name does, whether it is installed or not."""
    module, _, function = target.partition(":")
    code = f"import sys; sys.argv[0] = {name!r}; from {module} import {function} as enter; sys.exit(enter())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_explains_itself(name: str) -> None:
    """`--help` under each installed name prints the usage and exits with 0."""
    done = _enter(name, SCRIPTS[name], "--help")
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


def test_every_name_enters_by_the_one_door() -> None:
    """All names lead to `agentd.__main__`, which finds our packages before anything of the same name."""
    assert set(SCRIPTS.values()) == {"agentd.__main__:main"}


def test_names_of_the_field_come_in_both_spellings() -> None:
    """A name of the field with dashes is there with underscores too, and the other way round."""
    named = [name for name in SCRIPTS if name.startswith("compss")]
    assert sorted(named) == sorted(
        {spelt for name in named for spelt in (name.replace("_", "-"), name.replace("-", "_"))}
    )
