"""The pages on tasks tell the truth: their programs run, and every name in them is there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import agentd.api
from agentd.api.decorators import parameters
from agentd.api.decorators.task import ARGUMENTS, POLICIES

ROOT = Path(__file__).resolve().parents[3]
MODEL = (ROOT / "docs" / "programming-model.md").read_text("utf-8")
PYCOMPSS = (ROOT / "docs" / "pycompss.md").read_text("utf-8")
SAID = {"programming-model.md": "[0, 1, 1, 2, 2, 3, 3, 4]\n", "pycompss.md": "285\n"}


@pytest.mark.parametrize("page", SAID)
def test_the_programs_of_a_page_run_in_place(page: str, tmp_path: Path) -> None:
    """As they stand there, without an agent."""
    program, *_fragments = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    file = tmp_path / "program.py"
    file.write_text(program)
    path = f"{ROOT}:{ROOT / 'agentd' / 'pycompss'}"
    done = subprocess.run([sys.executable, file], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout == SAID[page]


def test_every_name_of_the_model_is_there() -> None:
    """Functions, decorators, specifications and arguments of @task that the page names exist, and all are named."""
    words = set(re.findall(r"[A-Za-z_]+", MODEL))
    functions = {
        "wait_on",
        "wait_on_file",
        "open_file",
        "file_exists",
        "barrier",
        "TaskGroup",
        "cancel_group",
        "set_wall_clock",
    }
    decorators = {
        "constraint",
        "on_failure",
        "reduction",
        "implement",
        "binary",
        "prolog",
        "epilog",
        "mpi",
        "container",
    }
    for name in functions | decorators | {"http", "IO", "multinode", "local", "GroupException"}:
        assert name in words, name
        assert getattr(agentd.api, name) is not None
    plain = {name for name in parameters.NAMES if not name.startswith(("FILE_", "STREAM")) or name.count("_") < 2}
    shorthands = {"FILE", "DIRECTORY", "COLLECTION", "COLLECTION_FILE", "DICTIONARY", "STREAM_IN", "STREAM_OUT"}
    assert plain - shorthands <= words
    assert set(parameters.KEYS) <= words
    assert {"returns", "varargs_type", "target_direction", "priority", "on_failure", "time_out"} <= words & set(
        ARGUMENTS
    )
    assert all(f"`{policy}`" in MODEL for policy in POLICIES)


def test_every_module_of_the_table_is_there() -> None:
    """The modules that the page lists can be imported, and have the names beside them."""
    rows = re.findall(r"^\| `(pycompss\.[\w.]+)` \| (.*?) \|", PYCOMPSS, re.MULTILINE)
    assert len(rows) >= 10
    for module, names in rows:
        found = importlib.import_module(module)
        for name in re.findall(r"`([A-Za-z_]+)`", names):
            assert hasattr(found, name) or importlib.import_module(f"{module}.{name}"), f"{module}.{name}"
