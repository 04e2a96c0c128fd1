"""What the code must not do, as checks over syntax trees; each with the places that may, and why they may.

A folder among the allowed ends with a slash. An entry that no longer excuses anything is a failure too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tests.architecture.source_tree import Finding, dotted, imports, nodes, references

MOST_LINES = 60
"""Of a function, its docstring included."""


@dataclass(frozen=True, eq=False)
class Rule:
    """A law, what breaks it, and who is exempt."""

    law: str
    find: Callable[[ast.Module], Iterator[Finding]]
    planted: tuple[str, ...]
    """Pieces of code that break the law, each by itself."""
    innocent: tuple[str, ...] = ()
    """Pieces of code that look as if they did."""
    allowed: dict[str, str] = field(default_factory=dict)
    """File or folder, and why it may."""

    def excuse(self, name: str) -> str | None:
        """Give the entry that exempts a file; None if there is none."""
        return next(
            (place for place in self.allowed if name == place or (place.endswith("/") and name.startswith(place))),
            None,
        )


def _named(*forbidden: str) -> Callable[[ast.Module], Iterator[Finding]]:
    """Find every mention of these full names, called or not, and of what lies below them."""

    def find(tree: ast.Module) -> Iterator[Finding]:
        for line, name in references(tree):
            if any(name == one or name.startswith((f"{one}.", f"{one}()")) for one in forbidden):
                yield Finding(line, name)

    return find


# --- unpickling -------------------------------------------------------------------------------------------------

PICKLERS = ("pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "multiprocessing", "shelve")


def unpickles(tree: ast.Module) -> Iterator[Finding]:
    """Find what brings in a module that can make objects, and so run code, from bytes."""
    for node in nodes(tree):
        match node:
            case ast.Import(names=names):
                wanted = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                wanted = [module]
            case ast.Call(func=function, args=[ast.Constant(value=str(module)), *_]) if str(dotted(function)).endswith(
                ("import_module", "__import__")
            ):
                wanted = [module]
            case _:
                continue
        yield from (Finding(node.lineno, name) for name in wanted if name.partition(".")[0] in PICKLERS)


# --- time -------------------------------------------------------------------------------------------------------

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
_CLOCK_NAMES = (
    *(f"time.{name}{unit}" for name in _CLOCKS for unit in ("", "_ns")),
    *(f"time.{name}" for name in ("localtime", "gmtime", "ctime", "strftime", "sleep")),
    *(f"datetime.{name}" for name in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")),
)


def reads_clock(tree: ast.Module) -> Iterator[Finding]:
    """Find clocks: of the operating system, and of the event loop."""
    yield from _named(*_CLOCK_NAMES)(tree)
    for node in nodes(tree):
        if isinstance(node, ast.Attribute) and node.attr == "time" and _is_loop(node.value):
            yield Finding(node.lineno, f"{dotted(node)}")


def _is_loop(node: ast.expr) -> bool:
    return (dotted(node) or "").removesuffix("()").endswith("loop")


# --- asyncio's tasks --------------------------------------------------------------------------------------------


def births_stray_task(tree: ast.Module) -> Iterator[Finding]:
    """Find tasks that no TaskGroup waits for."""
    yield from _named(
        "asyncio.create_task", "asyncio.ensure_future", "asyncio.gather", "asyncio.run_coroutine_threadsafe"
    )(tree)
    for node in nodes(tree):
        if isinstance(node, ast.Attribute) and node.attr == "create_task" and _is_loop(node.value):
            yield Finding(node.lineno, f"{dotted(node)}")


# --- catching everything ----------------------------------------------------------------------------------------


def catches_all(tree: ast.Module) -> Iterator[Finding]:
    """Find handlers for everything that do not end by raising the same again, and their like in `suppress`."""
    for node in nodes(tree):
        match node:
            case ast.ExceptHandler(type=caught, body=body) if _is_all(caught):
                if not (isinstance(body[-1], ast.Raise) and body[-1].exc is None):
                    yield Finding(node.lineno, "except of everything")
            case ast.Call(func=function, args=caught) if str(dotted(function)).endswith("suppress"):
                if any(map(_is_all, caught)):
                    yield Finding(node.lineno, "suppress of everything")


def _is_all(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(map(_is_all, caught.elts))
    return caught is None or (isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"})


# --- size and substance -----------------------------------------------------------------------------------------

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_long(tree: ast.Module) -> Iterator[Finding]:
    """Find functions that nobody takes in at one look."""
    for node in nodes(tree):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES:
                yield Finding(node.lineno, f"{node.name} has {lines} lines")


def is_stub(tree: ast.Module) -> Iterator[Finding]:
    """Find functions that only pretend: `pass`, or `...` outside of a Protocol, or NotImplementedError."""
    yield from _named("NotImplementedError")(tree)
    declared = set(_declared(tree))
    for node in nodes(tree):
        if isinstance(node, Function) and node not in declared and _is_hollow(node.body):
            yield Finding(node.lineno, f"{node.name} does nothing")


def _declared(tree: ast.Module) -> Iterator[Function]:
    """Yield functions that only say what others must be like."""
    for node in nodes(tree):
        if isinstance(node, Function) and any("overload" in str(dotted(mark)) for mark in node.decorator_list):
            yield node
        elif isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
            yield from (member for member in node.body if isinstance(member, Function))


def _is_hollow(body: list[ast.stmt]) -> bool:
    def is_nothing(statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return statement.value.value is ...
        return isinstance(statement, ast.Pass)

    is_documented = isinstance(body[0], ast.Expr) and isinstance(getattr(body[0].value, "value", None), str)
    rest = body[1:] if is_documented else body
    return bool(rest) and all(map(is_nothing, rest))


VAGUE = ("Manager", "Handler", "Helper", "Util", "Utils")


def is_vague(tree: ast.Module) -> Iterator[Finding]:
    """Find classes that are called by a word that fits everything."""
    for node in nodes(tree):
        if isinstance(node, ast.ClassDef) and node.name.endswith(VAGUE):
            yield Finding(node.lineno, node.name)


# --- tests ------------------------------------------------------------------------------------------------------


def sleeps(tree: ast.Module) -> Iterator[Finding]:
    """Find waiting for time to pass.

    Not meant are `asyncio.sleep(0)`, which only lets others run, and a pause in a `while` that looks again for what
    nobody tells.
    """
    meanings = imports(tree)
    pauses = {inner for node in nodes(tree) if isinstance(node, ast.While) for inner in ast.walk(node)}
    for node in nodes(tree):
        if isinstance(node, ast.Call) and node not in pauses:
            first, _, rest = str(dotted(node.func)).partition(".")
            name = ".".join(filter(None, (meanings.get(first, first), rest)))
            is_turn = [getattr(argument, "value", None) for argument in node.args] == [0]
            if name == "time.sleep" or (name == "asyncio.sleep" and not is_turn):
                yield Finding(node.lineno, name)


def has_no_property(tree: ast.Module) -> Iterator[Finding]:
    """Find tests that do not say what they hold."""
    for node in nodes(tree):
        if isinstance(node, Function) and node.name.startswith("test_") and not ast.get_docstring(node):
            yield Finding(node.lineno, f"{node.name} does not state its property")


# --- functions of one name --------------------------------------------------------------------------------------


def repeats_a_name(tree: ast.Module) -> Iterator[Finding]:
    """Find a test that another one of the same name in the same place puts out of action."""
    for scope in [tree, *(node for node in nodes(tree) if isinstance(node, ast.ClassDef))]:
        named = sorted(
            (node.name, node.lineno)
            for node in scope.body
            if isinstance(node, Function) and node.name.startswith("test_")
        )
        for (earlier, _), (later, line) in pairwise(named):
            if earlier == later:
                yield Finding(line, f"{later} is defined twice")


USERS_PROCESS = "it is loaded by users' processes, which have no agent's clock"

PRODUCT_RULES = {
    "unpickling": Rule(
        "only what runs in workers' and users' processes may unpickle: bytes that reach the daemon stay bytes",
        unpickles,
        planted=(
            "import pickle",
            "from pickle import loads as read",
            "import cloudpickle as c",
            "import importlib\nimportlib.import_module('cloudpickle')",
            "from multiprocessing.connection import Client",
            "def f():\n    import marshal",
        ),
        innocent=("from agentd.model.values import Codec\nCodec.PICKLE", "pickle: bytes = b''"),
        allowed={
            "agentd/workers/inside/": "the inside of a worker: users' code runs there anyway",
            "agentd/api/": "the users' side: a program reads the results of its own calls",
            "agentd/daemon/showing/forms.py": "writes the pickle of plain data, and reads none",
        },
    ),
    "clock": Rule(
        "the time comes from agentd/daemon/clock.py and is handed on",
        reads_clock,
        planted=(
            "import time\ntime.time()",
            "from time import monotonic as now\nnow()",
            "import time as t\ndef f(clock=t.perf_counter_ns): ...",
            "from datetime import datetime\ndatetime.now()",
            "import datetime as d\nd.date.today()",
            "import asyncio\nasyncio.get_running_loop().time()",
            "self._loop.time()",
        ),
        innocent=("clock.now()", "self._clock.time()", "import time\ntime.struct_time"),
        allowed={
            "agentd/daemon/clock.py": "this is the place",
            "agentd/daemon/trust/tokens.py": "its defaults are for `agentd token`, which runs without a daemon",
            "agentd/daemon/users/callbacks.py": "the loop's monotonic time, between two attempts of one callback",
            "agentd/workers/inside/": "times users' code, in another process than the daemon",
            "agentd/api/": USERS_PROCESS,
            "agentd/pycompss/": USERS_PROCESS,
            "agentd/comm/": "the loop's monotonic time, in which sessions count silence and nothing else",
            "cli/": "commands run at the user's terminal: they wait for people, and show people the time of day",
            "agentd/rest/serving/server.py": "the wall clock for the Date header, unless another one is handed in",
        },
    ),
    "environment": Rule(
        "environment variables are read in agentd/daemon/settings.py",
        _named("os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv"),
        planted=("import os\nos.environ['A']", "from os import environ\nenviron.get('A')", "import os\nos.getenv('A')"),
        innocent=("self.environ", "import os\nos.path"),
        allowed={
            "agentd/daemon/settings.py": "this is the place",
            "agentd/workers/inside/": "sets what users' code finds in its own process",
            "agentd/api/": "a user's program finds its agent and its token by it",
            "cli/app.py": "whether the shell asks for completions",
            "cli/output.py": "NO_COLOR: the terminal's wish, not the agent's setting",
        },
    ),
    "stray tasks": Rule(
        "tasks are born in a TaskGroup that outlives them",
        births_stray_task,
        planted=(
            "import asyncio\nasyncio.create_task(f())",
            "from asyncio import ensure_future\nensure_future(f())",
            "import asyncio\nasyncio.get_running_loop().create_task(f())",
            "self._loop.create_task(f())",
            "import asyncio\nasyncio.gather(f(), g())",
        ),
        innocent=("group.create_task(f())", "self._tasks.create_task(f())"),
    ),
    "catching all": Rule(
        "everything is caught only where users' code runs, and at the outermost door of a thread or process",
        catches_all,
        planted=(
            "try: f()\nexcept Exception: g()",
            "try: f()\nexcept: g()",
            "try: f()\nexcept (OSError, BaseException) as error: raise X from error",
            "from contextlib import suppress\nwith suppress(Exception): f()",
        ),
        innocent=("try: f()\nexcept BaseException:\n    g()\n    raise", "try: f()\nexcept OSError: g()"),
        allowed={
            "agentd/workers/inside/": "users' code runs there, and its processes end there",
            "agentd/api/decorators/": "the operators of users' arguments, and the functions of ranks, run there",
            "agentd/api/calls/values.py": "users' code runs while values are pickled and unpickled",
            "agentd/api/tasks/": "users' code runs while values are pickled, unpickled and compared",
            "agentd/api/calls/settling.py": "users' code runs while arguments are pickled",
            "agentd/store/journal.py": "the writer thread's outermost door: the daemon ends by it",
            "agentd/rest/gate/guard.py": "the outermost door of a request: it is logged and answered with 500",
            "agentd/daemon/lane.py": "the lane's outermost door: the daemon ends by it",
            "agentd/core/placing/plan.py": "a scheduler may be anybody's plug-in; another one stands in while it fails",
        },
    ),
    "stubs": Rule(
        "what stands in the code works",
        is_stub,
        planted=(
            "def f():\n    pass",
            "def f():\n    'Does much.'\n    ...",
            "async def f():\n    raise NotImplementedError",
            "class A:\n    def f(self): ...",
        ),
        innocent=(
            "class P(Protocol):\n    def f(self):\n        'Do it.'\n        ...",
            "from typing import overload\n@overload\ndef f(a: int) -> int: ...",
            "def f():\n    'Nothing is left to do here: the loop closes it.'",
        ),
    ),
    "vague names": Rule(
        "a name says what a thing is",
        is_vague,
        planted=("class LinkManager: a = 1", "class Utils: a = 1"),
        innocent=("class Handled: a = 1",),
    ),
    "long functions": Rule(
        f"a function has at most {MOST_LINES} lines",
        is_long,
        planted=("def f():\n" + "    a()\n" * MOST_LINES,),
        innocent=("def f():\n" + "    a()\n" * (MOST_LINES - 1),),
    ),
}
"""For the packages that are installed."""

TEST_RULES = {
    "sleeping": Rule(
        "a test waits for what it waits for, never for time to pass",
        sleeps,
        planted=(
            "import time\ntime.sleep(1)",
            "from time import sleep\nsleep(0)",
            "import asyncio\nasyncio.sleep(0.1)",
        ),
        innocent=(
            "import asyncio\nasyncio.sleep(0)",
            "self.sleep(1)",
            "import time\nwhile not f():\n    time.sleep(0.01)",
        ),
        allowed={"tests/integration/apps/": "users' code, whose naps are what is tested"},
    ),
    "property": Rule(
        "a test's docstring states the property that it holds",
        has_no_property,
        planted=("def test_f():\n    assert g()", "class T:\n    async def test_f(self):\n        assert g()"),
        innocent=("def test_f():\n    'F is g.'\n    assert g()", "def helper(): return 1"),
    ),
    "repeated names": Rule(
        "every test is run: no two of one place bear the same name",
        repeats_a_name,
        planted=("def test_f():\n    'A.'\ndef test_f():\n    'B.'",),
        innocent=("class A:\n    def test_f(self): 'A.'\nclass B:\n    def test_f(self): 'B.'",),
    ),
}
"""For the tests."""
