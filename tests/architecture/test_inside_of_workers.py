"""What is loaded in processes that run users' code stands on its own: any Python from 3.10 on, its library, no more."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

import pytest

from tests.architecture.source_tree import ROOT, Finding, Source, sources

OLDEST = (3, 10)
"""Python that users' code may need (said by `agentd/workers/child.py`)."""
BESIDE = ("child.py", "page.py", "protocol.py")
"""Of `agentd/workers/`: loaded on both sides."""
SHARED = {
    f"agentd/api/{name}.py" for name in ("memory/copies", "memory/file_copies", "memory/segment_map", "memory/segments")
}
"""Loaded by path in a worker."""


def _inside() -> list[Source]:
    names = {f"agentd/workers/{name}" for name in BESIDE} | SHARED
    return [
        source
        for source in sources("agentd")
        if source.name in names or source.name.startswith("agentd/workers/inside/")
    ]


def _imported(tree: ast.Module) -> Iterator[Finding]:
    """Yield what is imported when the module runs, by its first name; what only types are read for is left out."""
    unread = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (Finding(node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield Finding(node.lineno, str(node.module).partition(".")[0])


def _foreign(tree: ast.Module) -> list[Finding]:
    return [found for found in _imported(tree) if found.what not in sys.stdlib_module_names]


def test_workers_load_the_standard_library_alone() -> None:
    """No module of the daemon and no dependency of it reaches a process in which users' own may stand."""
    found = [f"{source.name}:{one.line}: {one.what}" for source in _inside() for one in _foreign(source.parse())]
    assert not found


def test_relative_imports_stay_among_what_is_loaded_by_path() -> None:
    """A dot leads from the inside to the inside, or to the files that both sides load."""
    beside = {name.removesuffix(".py") for name in BESIDE}
    shared = {name.rpartition("/")[2].removesuffix(".py") for name in SHARED}
    found = [
        f"{source.name}:{node.lineno}: {ast.unparse(node)}"
        for source in _inside()
        for node in ast.walk(source.parse())
        if isinstance(node, ast.ImportFrom)
        if node.level > 2
        or (node.level == 2 and not {node.module or alias.name for alias in node.names} <= beside)
        or (node.level and source.name in SHARED and node.module not in shared)
    ]
    assert not found


@pytest.mark.parametrize("source", _inside(), ids=lambda source: source.name)
def test_the_oldest_python_reads_it(source: Source) -> None:
    """No syntax is newer than the oldest Python that users' code may need."""
    ast.parse(source.text, source.name, feature_version=OLDEST)


def test_the_oldest_python_is_the_one_that_is_asked_for() -> None:
    """What is checked here is what the program itself demands."""
    text = (ROOT / "agentd" / "workers" / "child.py").read_text("utf-8")
    assert re.findall(r"version_info < \((\d+), (\d+)\)", text) == [tuple(map(str, OLDEST))]


@pytest.mark.parametrize(
    "code", ["import msgspec", "from agentd.model import task", "def f():\n    import numpy.linalg"]
)
def test_a_foreign_import_would_be_seen(code: str) -> None:
    """A dependency is found wherever the import stands."""
    assert _foreign(ast.parse(code))
