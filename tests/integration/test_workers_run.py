"""Tasks run in real workers: forms, codecs, results for people, failures told apart."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest

from agentd.core.commands import Binding, RunTasks
from agentd.core.events import TasksEnded
from agentd.model.task import Form, Reason, Status
from agentd.model.values import Codec, Part, Payload
from tests.integration.workers_room import Room, arguments, value_of

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import dataclasses, datetime, enum, os, sys, time
from functools import partial, wraps
from os import system

@dataclasses.dataclass
class Point:
    x: int
    y: float

class Colour(enum.Enum):
    RED = "red"

def inc(x, by=1): return x + by
def open_door(path):
    while not os.path.exists(path): time.sleep(0.001)
def give(name): return eval(name)
def _hidden(): return 1
def fail(): raise ValueError("no such luck")
def leave(code): sys.exit(code)
def hunger(): raise MemoryError
def generator(): return {"fine": 1, "rows": [1, (n for n in "ab")]}
def where(): return os.environ.get("COMPSS_TASK_ID"), os.popen("echo $COMPSS_TASK_ID").read().strip()
def units():
    return {n: v for n, v in os.environ.items() if n.startswith(("COMPSS", "OMP", "CUDA"))}, os.sched_getaffinity(0)
def picky(x):
    if x == 3: raise KeyError(x)
    return x * x
def child():
    pid = os.fork()
    if pid: os.waitpid(pid, 0)
    return os.getpid()

class Shop:
    @staticmethod
    def price(): return 7

def tagged(function):
    @wraps(function)
    def call(*args): return ("tagged", function(*args))
    return call

class task:
    def __init__(self, function): self.__wrapped__ = function
    def __call__(self, *args): return ("task", self.__wrapped__(*args))

@tagged
def soft(x): return x
@task
def hard(x): return x
half = partial(inc, by=0.5)
shell = partial(os.system)
number = 5
"""


def test_a_task_gives_its_value_and_how_long_it_took(tmp_path: Path) -> None:
    """A function by name gets its arguments; the result has the value and the time of users' code."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            result = await room.run("inc", 41)
            assert (result.status, value_of(result.value)) == (Status.DONE, 42)
            assert result.started_s > 0
            assert result.seconds >= 0
            assert await room.call("Shop.price") == 7

    asyncio.run(main())


def test_many_tasks_of_both_workers_end_in_the_order_given(tmp_path: Path) -> None:
    """Whatever was appended to a worker's line ends once, in order, with its own value."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            given: dict[int, list[int]] = {1: [], 2: []}
            values = {}
            for worker in given:
                room.supervisor.start_worker(worker)  # tasks may come before it has said hello
                for start in range(0, 2000, 100):
                    tasks = [room.task("inc", arguments(n)) for n in range(start, start + 100)]
                    values |= {task.id: start + n + 1 for n, task in enumerate(tasks)}
                    given[worker] += [task.id for task in room.give(tasks, worker)]
            await room.until(lambda: len(room.results()) == 4000)
            for worker, ids in given.items():
                events = [event for event in room.of(TasksEnded) if event.worker == worker]
                ended = [result.task for event in events for result in event.results]
                assert ended == ids
            assert {task: value_of(result.value) for task, result in room.results().items()} == values

    asyncio.run(main())


def test_results_do_not_wait_long_for_each_other(tmp_path: Path) -> None:
    """Of a line of tasks that each take a third of a millisecond results come all along, not at the end."""

    async def main() -> None:
        async with Room(tmp_path, CODE + "def nap(): import time; time.sleep(0.0003)\n") as room:
            await room.start_worker()
            tasks = room.give([room.task("nap") for _ in range(1000)])
            await room.result(tasks[-1])
            assert len(room.of(TasksEnded)) > 20  # they take a third of a second at least

    asyncio.run(main())


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("functions:nothing", "no nothing"),
        ("functions:_hidden", "not public"),
        ("functions:number", "cannot be called"),
        ("functions:system", "defined in posix"),
        ("functions:os.system", "only classes"),
        ("functions:shell", "not in users' code"),
        ("nowhere:inc", "no module nowhere"),
        ("json:dumps", "--allow json"),
        ("antigravity:geohash", "--allow antigravity"),
        ("vendored:inc", "--allow vendored"),
        ("../functions:inc", "write package.module:function"),
        ("functions", "write package.module:function"),
    ],
)
def test_what_may_not_be_called_is_refused_before_it_runs(tmp_path: Path, function: str, says: str) -> None:
    """Only public callables that users' folders define can be named; the refusal says what to do."""

    async def main() -> None:
        vendored = tmp_path / "code" / "site-packages"
        vendored.mkdir(parents=True)
        (vendored / "vendored.py").write_text("def inc(x): return x")
        async with Room(tmp_path, CODE, roots=(str(tmp_path / "code"), str(vendored))) as room:
            await room.start_worker()
            failure = await room.fail(function, "x", form=Form.NAME)
            assert failure.reason == Reason.NOT_CALLABLE
            assert says in failure.message

    asyncio.run(main())


def test_decorated_functions_and_allowed_modules_can_be_called(tmp_path: Path) -> None:
    """A decorator hides nothing: neither a wrapping function, nor an object, nor a partial; `allow` opens a module."""

    async def main() -> None:
        async with Room(tmp_path, CODE, allow=("math", "json")) as room:
            await room.start_worker()
            assert await room.call("soft", 1) == ("tagged", 1)
            assert await room.call("hard", 1) == ("task", 1)
            assert await room.call("half", 1) == 1.5
            assert await room.call("math:sqrt", 9) == 3.0
            assert await room.call("json.encoder:encode_basestring", "a") == '"a"'

    asyncio.run(main())


def test_functions_by_value_in_chunks_and_programs(tmp_path: Path) -> None:
    """A function by value runs as itself or over a chunk; a program runs as `__main__` with its arguments."""
    base = 10

    async def main() -> None:
        code = cloudpickle.dumps(lambda x: x + base)
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            assert value_of((await room.run("f", 1, form=Form.VALUE, code=code)).value) == 11
            chunk = Payload(Codec.PICKLE, pickle.dumps([(1,), (2,), (5,)], 5))
            task = room.give([room.task("f", chunk, form=Form.CHUNK, code=code)])[0]
            assert value_of((await room.result(task)).value) == [11, 12, 15]
            task = room.give([room.task("functions:picky", Payload(1, pickle.dumps([(1,), (3,)])), form=Form.CHUNK)])[0]
            failure = (await room.result(task)).failure
            assert failure is not None
            assert (failure.reason, failure.type) == (Reason.EXCEPTION, "KeyError")
            source = b"import sys\nif __name__ == '__main__':\n    print(sys.argv)\n    sys.exit(len(sys.argv) - 1)\n"
            done = await room.run("tool.py", form=Form.SCRIPT, code=source)
            assert done.status == Status.DONE
            failure = await room.fail("tool.py", "a", "b", form=Form.SCRIPT, code=source)
            assert (failure.reason, "exit code 2" in failure.message) == (Reason.EXIT, True)
            assert room.supervisor.output.read(done.task, "out", 0, 99) == b"['tool.py']\n"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("expression", "codec", "shown"),
    [
        ("None", Codec.NONE, None),
        ("{'a': [1, 2.5, True, None, 'ä']}", Codec.JSON, {"a": [1, 2.5, True, None, "ä"]}),
        ("b'raw'", Codec.BYTES, None),
        ("(1, 2)", Codec.BOTH, [1, 2]),
        ("{1: {2, 3}}", Codec.BOTH, {"1": [2, 3]}),
        ("Point(1, 2.0)", Codec.BOTH, {"x": 1, "y": 2.0}),
        ("[Colour.RED]", Codec.BOTH, ["red"]),
        ("datetime.date(2020, 1, 2)", Codec.BOTH, "2020-01-02"),
        ("__import__('pathlib').Path('/a')", Codec.BOTH, "/a"),
        ("__import__('numpy').arange(3)", Codec.BOTH, [0, 1, 2]),
        ("__import__('numpy').float64(1.5)", Codec.BOTH, 1.5),
        ("float('nan')", Codec.PICKLE, None),
        ("object()", Codec.PICKLE, None),
    ],
)
def test_results_for_people_are_json_where_that_is_honest(
    tmp_path: Path, expression: str, codec: Codec, shown: Any
) -> None:
    """JSON alone only where it gives back an equal value; beside the pickle where it shows one; else the pickle."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            value = (await room.run("give", expression, wants_json=True)).value
            assert value.codec == codec
            if codec == Codec.JSON:
                assert json.loads(value.data) == shown
            elif codec == Codec.BOTH:
                size = int.from_bytes(value.data[:4], "big")
                assert json.loads(value.data[4 : 4 + size]) == shown
                if "Point" not in expression and "Colour" not in expression:
                    pickle.loads(value.data[4 + size :], buffers=[part.data for part in value.parts])

    asyncio.run(main())


def test_json_arguments_have_bytes_in_the_place_of_blobs(tmp_path: Path) -> None:
    """`{"$blob": id}` stands for the part of that id, wherever and however often it is named; kwargs arrive too."""

    async def main() -> None:
        async with Room(tmp_path, CODE + "def both(a, b, c=0): return [a, b, c]\n") as room:
            await room.start_worker()
            text = b'{"args": [[{"$blob": "x"}, {"$blob": "y"}], {"$blob": "x"}], "kwargs": {"c": 2}}'
            payload = Payload(Codec.JSON, text, (Part(2, b"XX"), Part(1, b"Y")))
            result = await room.result(room.give([room.task("both", payload)])[0])
            assert value_of(result.value) == [[b"XX", b"Y"], b"XX", 2]

    asyncio.run(main())


def test_stored_objects_are_read_through_a_descriptor(tmp_path: Path) -> None:
    """A part on the disk is mapped from the descriptor that the store opens; one that is gone is told as such."""

    async def main() -> None:
        (tmp_path / "7").write_bytes(b"from the disk")
        async with Room(tmp_path, CODE + "def keep(x): return x\n") as room:
            room.supervisor._sharing._open_stored = lambda number: os.open(tmp_path / str(number), os.O_RDONLY)
            await room.start_worker()
            text = b'{"args": [{"$blob": "x"}]}'
            results = []
            for number in (7, 8):
                payload = Payload(Codec.JSON, text, (Part(13, stored=number),))
                results.append(await room.result(room.give([room.task("keep", payload)])[0]))
            assert value_of(results[0].value) == b"from the disk"
            assert results[1].failure is not None
            assert results[1].failure.reason == Reason.NOT_DECODABLE

    asyncio.run(main())


def test_failures_say_what_kind_they_are(tmp_path: Path) -> None:
    """An exception, an exit, want of memory, bad arguments and bad results are told apart; the worker lives on."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            pid = await room.start_worker()
            failure = await room.fail("fail")
            assert (failure.reason, failure.type, failure.message) == (Reason.EXCEPTION, "ValueError", "no such luck")
            assert 'raise ValueError("no such luck")' in failure.traceback
            assert "inside/" not in failure.traceback
            assert isinstance(pickle.loads(failure.exception), ValueError)
            assert (await room.fail("leave", 3)).reason == Reason.EXIT
            assert (await room.fail("hunger")).reason == Reason.OUT_OF_MEMORY
            failure = await room.fail("generator")
            assert failure.reason == Reason.NOT_ENCODABLE
            assert "['rows'][1] (a generator)" in failure.message
            bad = room.give([room.task("inc", Payload(Codec.PICKLE, b"not a pickle"))])[0]
            failure = (await room.result(bad)).failure
            assert failure is not None
            assert failure.reason == Reason.NOT_DECODABLE
            assert room.supervisor.pids()[1] == pid
            assert await room.call("inc", 1) == 2

    asyncio.run(main())


def test_results_wait_for_each_other_only_while_there_is_more_to_do(tmp_path: Path) -> None:
    """A held result leaves with that of the work that has come meanwhile, and at once when there is none."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            await room.run("open_door", str(tmp_path))
            door = tmp_path / "door"
            (first,) = room.give([room.task("open_door", arguments(str(door)))], hold_ms=60_000)
            await room.soon(lambda: room.supervisor.running(1) is not None)
            (second,) = room.give([room.task("open_door", arguments(str(door)))], hold_ms=60_000)
            door.touch()
            await room.result(second)
            ends = [[result.task for result in event.results] for event in room.of(TasksEnded)]
            assert ends[-1] == [first.id, second.id]

    asyncio.run(main())


@pytest.mark.parametrize("pins", [True, False])
def test_a_task_knows_its_number_and_its_units(tmp_path: Path, pins: bool) -> None:
    """COMPSS_TASK_ID is the task's own in Python and in programs it starts; a binding sets what libraries read.

    Processors are pinned only where the operator wants that.
    """

    async def main() -> None:
        async with Room(tmp_path, CODE, hostname="here", pin_cpus=pins) as room:
            await room.start_worker()
            for _ in range(2):
                result = await room.run("where")
                assert value_of(result.value) == (str(result.task), str(result.task))
            task = room.task("units")
            room.supervisor.run(RunTasks(1, [task], Binding((0,), (2, 3))))
            room.supervisor.flush()
            variables, cpus = value_of((await room.result(task)).value)
            assert variables["COMPSS_BINDED_CPUS"] == "0"
            assert variables["COMPSS_BINDED_GPUS"] == variables["CUDA_VISIBLE_DEVICES"] == "2,3"
            assert (variables["OMP_NUM_THREADS"], variables["COMPSS_HOSTNAMES"]) == ("1", "here")
            assert cpus == ({min(os.sched_getaffinity(0))} if pins else os.sched_getaffinity(0))

    asyncio.run(main())


def test_a_child_that_users_code_forks_is_no_second_worker(tmp_path: Path) -> None:
    """A process that users' code forks, and that returns from it, ends: one result comes, of the worker itself."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            pid = await room.start_worker()
            result = await room.run("child")
            assert value_of(result.value) == pid
            assert result.output_bytes == 0
            assert await room.call("inc", 1) == 2
            assert len(room.results()) == 2

    asyncio.run(main())


def test_a_function_is_probed_in_a_process_of_its_own(tmp_path: Path) -> None:
    """A probe says nothing of what can be called, and why the rest cannot; it takes no longer than it may."""

    async def main() -> None:
        async with Room(tmp_path, CODE, allow=("math",), probe_s=0.5) as room:
            (room.code / "stuck.py").write_text("import time\ntime.sleep(60)\n")
            (room.code / "broken.py").write_text("1 / 0\n")
            (room.code / "mute.py").write_text("import os\nos._exit(1)\n")
            assert await room.supervisor.probe("math:sqrt") is None
            assert await room.supervisor.probe("functions:inc") is None
            assert "no nothing" in str(await room.supervisor.probe("math:nothing"))
            assert "ZeroDivisionError" in str(await room.supervisor.probe("broken:f"))
            assert "without an answer" in str(await room.supervisor.probe("mute:f"))
            assert "longer than 0.5 s" in str(await room.supervisor.probe("stuck:f"))

    asyncio.run(main())
