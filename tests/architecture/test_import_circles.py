"""Modules that know each other in a circle cannot be read, or changed, one after the other."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("agentd/api/calls",)
"""Without circles; more are welcome."""


def neighbours(path: Path) -> set[str]:
    """Give the modules of its folder that a module imports, anywhere in it, for its types alone as well."""
    package = ".".join(path.parent.relative_to(ROOT).parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.removeprefix(f"{package}.") for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.removeprefix(f"{package}."))
    return {name for name in found if (path.parent / f"{name}.py").exists()} - {path.stem}


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_of_a_folder_know_each_other_in_one_direction(folder: str) -> None:
    """There is an order in which each module knows those before it alone."""
    known = {path.stem: neighbours(path) for path in (ROOT / folder).glob("*.py")}
    assert sum(map(len, known.values())) > len(known) / 2, "no imports were found"
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        pytest.fail(f"{folder}: {' knows '.join(reversed(error.args[1]))}")
