"""Programs that were sent as source: run from the top as `__main__`, or loaded for the tasks that they define.

Law: loading a program does not do its work again. It does what a program does before its first task: imports,
definitions, settings; with a main guard or without one.
"""

from __future__ import annotations
import __future__

import importlib
import json
import linecache
import os
import sys
import types
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .failures import Reason, Refused

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator

ALIAS = "__agentd_main__"
"""Name of the program's module while it is loaded for its tasks: its main guard does not fire."""
MARK = b"\n# agentd: "
"""Begins the last line of a program's source: what its process says of its file and its arguments, as JSON."""
_FUTURE = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})
_loaded: dict[bytes, types.ModuleType] = {}


def main_of(code: bytes) -> types.ModuleType:
    """Give the module that a program's source makes, as `__main__`; it is loaded once for each source.

    Raises:
        Exception: whatever the program raises before it comes to its own work.
    """
    module = _loaded.get(code)
    if module is None:
        file, argv = _told(code)
        module = types.ModuleType(ALIAS)
        module.__file__ = file or f"<program {zlib.crc32(code):08x}>"
        note_source(module.__file__, code)
        before, sys.argv = sys.argv, argv or [""]
        sys.modules[ALIAS] = module
        ends = _written()
        try:
            _load(code, module)
        finally:
            sys.argv = before
        _unsay(ends)
        module.__name__ = "__main__"
        _loaded[code] = module
    sys.modules["__main__"] = sys.modules[ALIAS] = module
    return module


def _written() -> tuple[int, int]:
    """Tell how much this process has written to stdout and stderr, which are files."""
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fstat(1).st_size, os.fstat(2).st_size


def _unsay(ends: tuple[int, int]) -> None:
    """Take back what was written since: the program itself has said it, once."""
    _written()
    for stream, end in enumerate(ends, 1):
        with suppress(OSError):  # it is no file where no agent reads it
            os.ftruncate(stream, end)


def _told(code: bytes) -> tuple[str, list[str]]:
    """Read what the process of the program says of it in its last line."""
    _, mark, last = code.rpartition(MARK)
    try:
        told = json.loads(last) if mark else {}
        return str(told["file"]), [str(word) for word in told["argv"]]
    except (ValueError, TypeError, KeyError):
        return "", []


def note_source(name: str, code: bytes) -> None:
    """Let tracebacks, and whoever looks at the source of a function, find it."""
    text = code.decode("utf-8", "replace")
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name


def _load(code: bytes, module: types.ModuleType) -> None:
    """Execute a program's statements but for its own work.

    From the first statement on that calls or awaits tasks, only imports, definitions and assignments are executed, and
    of these the assignments that can be; of loops and the like what they define.
    """
    import ast  # a worker that loads no program does without

    name = str(module.__file__)
    tree = ast.parse(code, name)
    work = _own_work(tree)
    flags = compile(code, name, "exec", dont_inherit=True).co_flags & _FUTURE
    found: Any = importlib.import_module("agentd.api.tasks.loading")
    has_begun = False

    def execute(statement: ast.stmt) -> None:
        part = compile(ast.Module([statement], []), name, "exec", flags, dont_inherit=True)
        with found.loading():
            exec(part, module.__dict__)  # noqa: S102 - the user's program

    for statement in tree.body:
        is_wanted = isinstance(statement, _definitions() | ast.Import | ast.ImportFrom)
        if statement not in work and (is_wanted or not has_begun or isinstance(statement, ast.Assign | ast.AnnAssign)):
            try:
                execute(statement)
                continue
            except found.ProgramReached:
                pass
            except Exception:
                if is_wanted or not has_begun:
                    raise
        has_begun = True
        for inner in _defined_within(statement):
            with suppress(Exception, found.ProgramReached):  # what it needs may be part of the work
                execute(inner)


def _definitions() -> Any:
    import ast

    return ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _defined_within(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Yield the definitions in a loop, a condition, a `with` or a `try`, which are names of the program too."""
    import ast

    for inner in ast.iter_child_nodes(statement):
        if isinstance(inner, _definitions()):
            yield inner
        elif isinstance(inner, ast.stmt | ast.ExceptHandler) or type(inner).__name__ == "match_case":
            yield from _defined_within(inner)  # type: ignore[arg-type]


def _own_work(tree: ast.Module) -> list[ast.stmt]:
    """Give the statements that call tasks of the program, by themselves or by its functions, as far as one can read."""
    import ast

    bodies = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    names = {name: set(_names(node)) for name, node in bodies.items()}
    tasks = {name for name, node in bodies.items() if any("task" in set(_names(one)) for one in node.decorator_list)}
    size = -1
    while size != len(tasks):
        size = len(tasks)
        tasks |= {name for name, called in names.items() if not tasks.isdisjoint(called)}
    kept = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.If)
    return [one for one in tree.body if not isinstance(one, kept) and not tasks.isdisjoint(_called(one))]


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that are read in a piece of a program, with those of attributes."""
    import ast

    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield inner.attr


def _called(statement: ast.stmt) -> Iterator[str]:
    """Yield the names of what a statement calls."""
    import ast

    for inner in ast.walk(statement):
        if isinstance(inner, ast.Call):
            yield from _names(inner.func)


class Script:
    """A program that is run as `__main__`, with its arguments in `sys.argv`."""

    def __init__(self, name: str, source: bytes) -> None:
        self._name = name
        self._source = source
        self._code = compile(source, name, "exec", dont_inherit=True)

    def __call__(self, *args: object, **kwargs: object) -> None:
        """Run it from the top.

        Raises:
            Refused: keyword arguments, which a command line does not have.
            SystemExit: the program ended itself with another code than 0.
        """
        if kwargs:
            raise Refused(Reason.NOT_DECODABLE, "a program takes no keyword arguments")
        main = types.ModuleType("__main__")
        main.__file__ = self._name
        before, argv = sys.modules["__main__"], sys.argv
        sys.modules["__main__"] = sys.modules[ALIAS] = main
        note_source(self._name, self._source)
        sys.argv = [self._name, *map(str, args)]
        try:
            exec(self._code, main.__dict__)  # noqa: S102 - running what the user sent is the purpose
        except SystemExit as end:
            if end.code not in {None, 0}:
                raise
        finally:
            sys.modules["__main__"], sys.argv = before, argv
