"""Which functions users may call here; found by reading source, never by importing it.

Law: a function may be called if it is public and defined in a module whose file lies under the users' folders (but not
in a site-packages below them), or if the operator allowed its module by name.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from agentd.daemon.users.spelling import meant, nearest
from agentd.model.task import Form, Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
from pathlib import Path

MOST_SOURCE_BYTES = 8 << 20
"""A module larger than this is not read (chosen: far above anything written by hand)."""


DEEPEST = 4
"""Folders below a users' folder that are listed (chosen: packages are rarely deeper)."""
MOST_MODULES = 1000
"""Modules that are listed for neighbours."""
MOST_NAMES = 10
"""Functions of a module that are named to who asked for another one."""


class Functions:
    """The users' folders and what may be called in them."""

    def __init__(self, folders: Sequence[Path], allowed: Sequence[str]) -> None:
        self.folders = [folder.resolve() for folder in folders]
        self.allowed = frozenset(allowed)
        self._read: dict[Path, tuple[tuple[int, int], frozenset[str]]] = {}
        self._good: dict[str, tuple[Path, tuple[int, int]]] = {}
        """Functions that were found, with their file: while that does not change, one look at it is enough."""

    def objection(self, template: Template) -> str | None:
        """Say why the function of a template may not be called; None when it may, as far as reading tells.

        A function of an allowed module is taken on trust: the worker that runs it looks again.
        """
        if template.holds or template.form is Form.DIRECT:
            return None  # it calls nothing
        if template.form is Form.TASK:
            ways = (template, *template.alternatives)
            return next(filter(None, map(self._objection_to_task, ways)), None)
        if not template.code and self._is_known(template.function):
            return None
        return self.malformed(template) or self._missing(template)

    def _is_known(self, function: str) -> bool:
        """Tell whether a function was found before, in a file that is as it was then."""
        known = self._good.get(function)
        return known is not None and _stamp(known[0]) == known[1]

    def _objection_to_task(self, template: Template) -> str | None:
        """Say why a decorated task cannot run here, which may be private, a method, or of an installed package.

        Whether it really is a task is found by the worker that runs it.
        """
        module, separator, name = template.function.partition(":")
        if not separator or not _is_dotted(module) or not _is_dotted(name):
            return f"{template.function!r} is no task: its name is package.module:name"
        if template.code or self.has_module(template) or _is_installed(module):
            return None
        return f"there is no module {module!r} here: start the agent with --pythonpath FOLDER, or install the package"

    def malformed(self, template: Template) -> str | None:
        """Say what is wrong with the name of a function wherever it may be; None when nothing is."""
        if self._is_carried(template):
            return None
        module, separator, name = template.function.partition(":")
        if not separator or not _is_dotted(module) or not _is_dotted(name):
            return f"{template.function!r} is no function: write it as package.module:function"
        private = next((part for part in (*module.split("."), *name.split(".")) if part.startswith("_")), None)
        if private is not None:
            return f"{private!r} is private: only names without a leading underscore may be called"
        return None

    def has_module(self, template: Template) -> bool:
        """Tell whether the module that a template names is here."""
        module = template.function.partition(":")[0]
        return self.is_allowed(module) or self._find(module) is not None

    @staticmethod
    def _is_carried(template: Template) -> bool:
        """Tell whether a template brings its code along."""
        return template.form in {Form.VALUE, Form.SCRIPT} or (template.form is Form.CHUNK and bool(template.code))

    def _missing(self, template: Template) -> str | None:
        if self._is_carried(template):
            return None
        module, _, name = template.function.partition(":")
        if self.is_allowed(module):
            return None
        return self._look(module, name)

    def modules(self) -> frozenset[str]:
        """List the modules in the users' folders, and those that are allowed by name."""
        found = set(self.allowed)
        for folder in self.folders:
            for path in _sources(folder, DEEPEST):
                parts = path.relative_to(folder).with_suffix("").parts
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                if parts and all(part.isidentifier() and not part.startswith("_") for part in parts):
                    found.add(".".join(parts))
                if len(found) >= MOST_MODULES:
                    return frozenset(found)
        return frozenset(found)

    def is_allowed(self, module: str) -> bool:
        """Tell whether the operator named the module, or a package that it is in."""
        if not self.allowed:
            return False
        parts = module.split(".")
        return any(".".join(parts[:count]) in self.allowed for count in range(1, len(parts) + 1))

    def _look(self, module: str, name: str) -> str | None:
        path = self._find(module)
        if path is None:
            places = ", ".join(map(str, self.folders))
            near = meant(nearest(module, self._beside(module)))
            what = f"no module {module!r} under {places}{near}"
            return what if near else f"{what}: start the agent with --pythonpath FOLDER, or --allow {module}"
        names = self._names(path)
        if name in names:
            self._good[f"{module}:{name}"] = (path, self._read[path][0])
            return None
        if not names and (fault := _fault(path)):
            return f"{module} cannot be read: {fault}"
        near = nearest(name, names)
        hint = f"{meant(near)} It" if near else "; it"
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        there = ", ".join(sorted(names)[:MOST_NAMES]) or "none"
        return f"{module} defines no public function {name!r}{hint} defines: {there}{more}"

    def _beside(self, module: str) -> set[str]:
        """List the modules of the folders in which this one would be; not below, as anybody may ask for it."""
        package, dot, _ = module.rpartition(".")
        names: set[str] = set()
        for folder in self.folders:
            with suppress(OSError):
                entries = list(islice((folder / package.replace(".", "/")).iterdir(), MOST_MODULES))
                names.update(path.stem for path in entries if path.suffix == ".py" or _is_file(path / "__init__.py"))
        return {f"{package}{dot}{name}" for name in names if name.isidentifier() and not name.startswith("_")}

    def _find(self, module: str) -> Path | None:
        relative = module.replace(".", "/")
        for folder in self.folders:
            for candidate in (folder / f"{relative}.py", folder / relative / "__init__.py"):
                if _is_file(candidate) and self._is_users(candidate, folder):
                    return candidate
        return None

    @staticmethod
    def _is_users(path: Path, folder: Path) -> bool:
        real = path.resolve()
        if not real.is_relative_to(folder):
            return False
        return not {"site-packages", "dist-packages"}.intersection(real.relative_to(folder).parts)

    def _names(self, path: Path) -> frozenset[str]:
        """Read which callables a module defines; remembered until the file changes."""
        stamp = _stamp(path)
        known = self._read.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        names = frozenset(_defined(path)) if stamp[1] <= MOST_SOURCE_BYTES else frozenset()
        self._read[path] = (stamp, names)
        return names


def _is_installed(module: str) -> bool:
    """Tell whether a package of this interpreter has the module; its top level only, as looking deeper imports it."""
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _stamp(path: Path) -> tuple[int, int]:
    """Tell one state of a file from another; one that is gone has a stamp of its own."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, -1)
    return found.st_mtime_ns, found.st_size


def _is_file(path: Path) -> bool:
    """Tell whether there is a file; what cannot be looked at is none."""
    return os.path.isfile(path)


def _sources(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the Python files of a folder and of the packages in it; what is out of reach is as if it were not there."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.suffix == ".py" and _is_file(entry):
            yield entry
        elif depth and _is_file(entry / "__init__.py") and entry.name not in {"site-packages", "dist-packages"}:
            yield from _sources(entry, depth - 1)


def _defined(path: Path) -> set[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return set()
    return set(_callables(tree.body, ""))


def _fault(path: Path) -> str:
    """Say why a file is no Python that can be read; empty when it is."""
    if _stamp(path)[1] > MOST_SOURCE_BYTES:
        return f"{path} is larger than {MOST_SOURCE_BYTES >> 20} MiB"
    try:
        ast.parse(path.read_bytes(), path.name)
    except SyntaxError as error:
        return f"{path}, line {error.lineno}: {error.msg}"
    except (ValueError, OSError) as error:
        return f"{path}: {error}"
    return ""


def _callables(body: list[ast.stmt], prefix: str) -> list[str]:
    """List functions, classes and their methods, also those under `if` and `try`, as dotted public names."""
    names: list[str] = []
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and not statement.name.startswith("_"):
            names.append(prefix + statement.name)
        elif isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
            names.append(prefix + statement.name)
            names.extend(_callables(statement.body, f"{prefix}{statement.name}."))
        elif isinstance(statement, (ast.If, ast.Try)):
            for block in (statement.body, statement.orelse, getattr(statement, "finalbody", [])):
                names.extend(_callables(block, prefix))
            for handler in getattr(statement, "handlers", []):
                names.extend(_callables(handler.body, prefix))
        elif isinstance(statement, ast.Assign) and not prefix:
            names.extend(_bound(statement))
    return names


def _bound(statement: ast.Assign) -> list[str]:
    """List names that are bound to something made by a call or a lambda: a decorated or partial function."""
    if not isinstance(statement.value, (ast.Call, ast.Lambda)):
        return []
    targets = [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return [name for name in targets if not name.startswith("_")]


def _is_dotted(text: str) -> bool:
    """Tell whether a text is names of Python with dots between them."""
    return all(part.isidentifier() for part in text.split("."))
