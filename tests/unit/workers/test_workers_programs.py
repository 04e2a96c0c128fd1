"""Programs that are loaded for their tasks: with a main guard or without, their own work is not done again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.api.tasks.runtime import IN_PLACE, current
from agentd.workers.inside.programs import ALIAS, MARK, main_of

Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load() -> Iterator[Load]:
    """Load a program that begins with the imports of most; gives what it defines."""
    before = {name: sys.modules.get(name) for name in ("__main__", ALIAS)}

    def loaded(text: str, *, first: str = "", **told: Any) -> dict[str, Any]:
        source = f"{first}\nfrom agentd.api import task, wait_on, barrier\nSEEN = []\n{text}".encode()
        if told:
            source += MARK + json.dumps(told).encode() + b"\n"
        return vars(main_of(source))

    yield loaded
    for name, module in before.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module


TASK = """
@task(returns=int)
def inc(x):
    return x + 1
"""


def test_what_stands_before_the_first_task_is_done_and_the_rest_only_defined(load: Load) -> None:
    """Settings, functions behind the work, and constants; no output, no loops, and nothing that needs a task."""
    found = load(
        TASK
        + """
SIZE = 4
SEEN.append("before")
values = [inc(i) for i in range(SIZE)]
SEEN.append("after")
for one in values:
    SEEN.append("loop")
total = sum(values)
LATE = SIZE * 2
def late(x):
    return x * LATE
if SIZE:
    SEEN.append("if")
"""
    )
    assert found["SEEN"] == ["before"]
    assert (found["LATE"], found["late"](2)) == (8, 16)
    assert {"values", "total"}.isdisjoint(found)
    assert current() is IN_PLACE


@pytest.mark.parametrize(
    "work",
    ["run()", "wait_on([])", "barrier()", "other.inc(1)", "with hidden() as it:\n    pass", "if True:\n    run()"],
)
def test_work_is_known_also_where_reading_does_not_tell(load: Load, work: str, tmp_path: Path) -> None:
    """Calls through functions, of other modules' tasks, of what waits: the statement ends there."""
    sys.modules.pop("other_tasks_of_programs", None)
    (tmp_path / "other_tasks_of_programs.py").write_text("from agentd.api import task\n" + TASK)
    sys.path.insert(0, str(tmp_path))
    try:
        found = load(
            TASK
            + f"""
import contextlib
import other_tasks_of_programs as other
def run():
    SEEN.append("run")
    return inner()
def inner():
    return inc(1)
@contextlib.contextmanager
def hidden():
    yield globals()["inc"](1)
{work}
SEEN.append("after")
"""
        )
    finally:
        sys.path.remove(str(tmp_path))
    assert "after" not in found["SEEN"]


def test_calling_work_that_reading_finds_has_not_even_begun(load: Load) -> None:
    """A main function at the end of the file does nothing, neither before nor after its first task."""
    found = load(TASK + "def main():\n    SEEN.append('begun')\n    wait_on(inc(1))\nmain()\n")
    assert found["SEEN"] == []


def test_definitions_inside_of_the_work_are_there(load: Load) -> None:
    """Of loops, conditions, contexts and what is tried; what they would need of the work is left out."""
    found = load(
        """
import contextlib
for n in range(2):
    @task(returns=int)
    def looped(x):
        return x
    looped(n)
    SEEN.append(n)
with contextlib.suppress(ValueError):
    if SEEN is not None:
        class Inner:
            pass
        def within(x=[]):
            return x
    try:
        wait_on(looped(1))
    except ValueError as error:
        def handled():
            return error
"""
    )
    assert found["looped"].__wrapped__(4) == 4
    assert found["within"]() == []
    assert {"Inner", "handled"} <= set(found)
    assert found["SEEN"] == []


def test_a_guarded_program_is_loaded_wholly(load: Load) -> None:
    """All that stands outside of the guard."""
    found = load(TASK + "for n in range(3):\n    SEEN.append(n)\nif __name__ == '__main__':\n    inc(1)\nEND = 1\n")
    assert (found["SEEN"], found["END"]) == ([0, 1, 2], 1)


def test_errors_before_the_work_are_told(load: Load) -> None:
    """They are the program's; an import that fails behind the work is, too."""
    with pytest.raises(ZeroDivisionError):
        load("1 / 0\n" + TASK)
    with pytest.raises(ModuleNotFoundError):
        load(TASK + "x = inc(1)\nimport no_such_module_anywhere\n")


def test_a_program_has_its_file_and_its_arguments(load: Load) -> None:
    """While it is loaded, as in its own process; what is set for others is as before."""
    before = list(sys.argv)
    found = load("import sys\nARGS = sys.argv[1:]\nHERE = __file__\n", file="/some/where/p.py", argv=["p.py", "3"])
    assert (found["ARGS"], found["HERE"]) == (["3"], "/some/where/p.py")
    assert sys.argv == before
    assert load("HERE = __file__\n")["HERE"].startswith("<program ")


def test_future_statements_hold_for_the_whole_program(load: Load) -> None:
    """Annotations that are never evaluated."""
    found = load("def f(x: NoSuchName) -> None: ...\n", first="from __future__ import annotations")
    assert found["f"].__annotations__["x"] == "NoSuchName"


def test_a_program_is_loaded_once(load: Load) -> None:
    """For all its tasks."""
    text = TASK + "MARKED = object()\n"
    assert load(text)["MARKED"] is load(text)["MARKED"]
