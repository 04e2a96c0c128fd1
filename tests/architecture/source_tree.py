"""The project's files as the architecture tests read them, and names in code led back to their imports."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("agentd", "cli", "schedulers", "resources_xml")
CODE = (*PRODUCT, "tests", "benchmarks", "examples")
MADE = {"__pycache__", "build", "dist"}
"""Folders that are made, not written; so are those whose name begins with a dot, but for `.ci`."""


@dataclass(frozen=True)
class Source:
    """One file of Python."""

    name: str
    """Its path from the top of the project, with forward slashes."""
    text: str

    def parse(self) -> ast.Module:
        """Make its syntax tree, which is not kept: all trees together would slow every other test of this process."""
        return ast.parse(self.text, self.name)


@dataclass(frozen=True)
class Finding:
    """One place that breaks a rule."""

    line: int
    what: str


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Yield every file that somebody wrote, without asking git, which may not be there."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name == ".ci" or not (name in MADE or name.startswith("."))]
        yield from (Path(place, name) for name in sorted(names))


@cache
def sources(*tops: str) -> tuple[Source, ...]:
    """Read the Python files below these top folders."""
    found = [path for top in tops for path in files(ROOT / top) if path.suffix == ".py"]
    return tuple(Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in found)


@lru_cache(maxsize=1)
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Give all nodes of a module; walked once, if all rules look at one module before the next."""
    return tuple(ast.walk(tree))


def imports(tree: ast.Module) -> dict[str, str]:
    """Map the names that the module's imports bind, wherever they stand, to what they mean in full."""
    meanings: dict[str, str] = {}
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                meanings[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                meanings[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return meanings


@lru_cache(maxsize=1)
def references(tree: ast.Module) -> tuple[tuple[int, str], ...]:
    """Give (line, full name) of every name that leads back to an import, and of builtins as they are written."""
    meanings = imports(tree)
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.Name | ast.Attribute) and (written := dotted(node)) is not None:
            first, _, rest = written.partition(".")
            found.append((node.lineno, ".".join(filter(None, (meanings.get(first, first), rest)))))
    return tuple(found)


def dotted(node: ast.expr) -> str | None:
    """Give `a.b.c` as it is written; a call in the chain stands as `()`; None for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            before = dotted(value)
            return None if before is None else f"{before}.{attribute}"
        case ast.Call(func=function):
            before = dotted(function)
            return None if before is None else f"{before}()"
        case _:
            return None
