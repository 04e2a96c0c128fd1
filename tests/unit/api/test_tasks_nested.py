"""The runtime of tasks inside tasks: directions, futures, collections, files, waits; the engine is a fake one."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agentd import api
from agentd.api.tasks.definition import Content, Direction
from agentd.api.tasks.errors import GroupException, TaskCancelled
from tests.fakes.marked import COMMUTATIVE, CONCURRENT, IN_DELETE, INOUT, OUT, marked, of
from tests.fakes.task_engine import FakePort, program


class Box:
    """An object of the user's, with a task among its methods."""

    def __init__(self, content: Any = 0) -> None:
        self.content = content

    @marked(self=INOUT)
    def put(self, content: Any) -> None:
        self.content = content

    @marked(returns=1)
    def look(self) -> Any:
        return self.content


@marked(returns=1)
def add(left: Any, right: Any = 1) -> Any:
    return left + right


@marked(returns=2)
def divide(left: int, right: int) -> Any:
    return divmod(left, right)


@marked(values=INOUT)
def append(values: list[Any], value: Any) -> None:
    values.append(value)


@marked(values=OUT)
def fill(values: list[Any]) -> None:
    values[:] = [1, 2, 3]


@marked(values=COMMUTATIVE)
def append_any_time(values: list[Any], value: Any) -> None:
    values.append(value)


@marked(values=CONCURRENT)
def look_along(values: list[Any]) -> None:
    values.append("seen")


@marked(returns=1, values=IN_DELETE)
def total(values: list[int]) -> int:
    return sum(values)


@marked(returns=1, items=of(Content.COLLECTION))
def total_of(items: Any) -> int:
    return sum(total.__wrapped__(row) if isinstance(row, list) else row for row in items)


@marked(items=of(Content.COLLECTION, Direction.INOUT))
def double_all(items: Any) -> None:
    for index, item in enumerate(items):
        if isinstance(item, list):
            item[:] = [2 * value for value in item]
        else:
            items[index] = 2 * item


@marked(items=of(Content.COLLECTION, Direction.OUT, 2))
def make_blocks(items: Any) -> None:
    for row, line in enumerate(items):
        for column in range(len(line)):
            line[column] = [row, column]


@marked(items=of(Content.COLLECTION, Direction.INOUT))
def grow(items: Any) -> None:
    items.append(1)


@marked(table=of(Content.DICTIONARY, Direction.INOUT))
def raise_all(table: dict[str, int]) -> None:
    for key in table:
        table[key] += 1


@marked(returns=1)
def fibonacci(number: int) -> Any:
    if number < 2:
        return number
    left, right = api.wait_on(fibonacci(number - 1), fibonacci(number - 2))
    return left + right


@marked(returns=1)
def chain_of(count: int) -> Any:
    return add(chain_of(count - 1), 1) if count else 0


@marked(returns=1)
def fail(message: str) -> Any:
    raise ZeroDivisionError(message)


@marked(returns=1, on_failure="IGNORE", failure_defaults={"returns": -1})
def fail_softly() -> Any:
    raise ZeroDivisionError


@marked(returns=1)
def enough() -> None:
    raise GroupException("enough")


@marked(path=of(Content.FILE, Direction.OUT))
def write_file(path: str, text: str) -> None:
    Path(path).write_text(text)


@marked(path=of(Content.FILE, Direction.INOUT))
def extend_file(path: str, text: str) -> None:
    with Path(path).open("a") as file:
        file.write(text)


@marked(returns=1, path=of(Content.FILE))
def read_file(path: str) -> str:
    return Path(path).name + ":" + Path(path).read_text()


@marked(words=of(Content.COLLECTION, Direction.OUT, 1), path=of(Content.FILE))
def split_file(words: list[str], path: str) -> None:
    words[:] = Path(path).read_text().split()


@marked(path=of(Content.FILE, Direction.OUT))
def forget_to_write(path: str) -> None:
    """Write nothing."""


@marked(folder=of(Content.DIRECTORY, Direction.INOUT))
def add_file(folder: str, name: str) -> None:
    (Path(folder) / name).write_text(name)


@marked(returns=1, rest=of(Content.COLLECTION, Direction.IN))
def gather(*rest: Any, **more: Any) -> Any:
    return [rest, sorted(more.items())]


@marked(values=INOUT)
def scale(values: Any, factor: float) -> None:
    values *= factor


@marked(returns=1)
def mean(values: Any) -> float:
    return float(values.sum() / values.size)


class Shelved:
    """A persistent object, in a store that is a dict."""

    shelf: ClassVar[dict[str, Any]] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.content: list[int] = []

    def getID(self) -> str | None:  # noqa: N802 - the store's interface
        return self.name if self.name in self.shelf else None

    def makePersistent(self) -> None:  # noqa: N802 - as above
        self.shelf[self.name] = self

    def __reduce__(self) -> Any:
        raise AssertionError("it must travel by its identifier")


@marked(shelved=INOUT)
def fill_shelved(shelved: Shelved, value: int) -> None:
    shelved.content.append(value)


@marked(returns=1)
def content_of(shelved: Shelved) -> Any:
    return list(shelved.content)


@marked(returns=1)
def shelve(name: str) -> Any:
    shelved = Shelved(name)
    shelved.makePersistent()
    return shelved


TASKS = [value for value in list(globals().values()) if hasattr(value, "__agentd_task__")] + [Box.put, Box.look]


@pytest.fixture(params=range(3))
def port(request: pytest.FixtureRequest, tmp_path: Path) -> FakePort:
    """Give an engine that runs tasks in one of several orders."""
    return FakePort(str(tmp_path), seed=request.param)


def test_a_task_gives_a_future_and_waiting_its_value(port: FakePort) -> None:
    """Nothing runs before it is waited for; futures go into tasks; several come in one wait."""
    with program(port, *TASKS):
        first = add(1, 2)
        second = add(first, right=first)
        assert port.ran == []
        assert api.wait_on(second) == 6
        assert api.wait_on(first, [second, {"key": first}]) == [3, [6, {"key": 3}]]
        assert api.wait_on(*divide(7, 2)) == [3, 1]


def test_a_written_object_is_seen_by_who_waits(port: FakePort) -> None:
    """INOUT in the order of the program; the caller's own object shows it afterwards, as if run in place."""
    with program(port, *TASKS):
        values: list[int] = []
        for number in range(5):
            append(values, number)
        assert api.wait_on(values) is values
        assert values == [0, 1, 2, 3, 4]
        append(values, 5)
        assert api.wait_on(add(values, [6])) == [0, 1, 2, 3, 4, 5, 6]
        fill(values)
        assert api.wait_on(values) == [1, 2, 3]


def test_an_object_changed_between_calls_is_seen_changed(port: FakePort) -> None:
    """What a task reads is the object as it was when the task was called."""
    with program(port, *TASKS):
        values = [1]
        first = add(values, [2])
        values.append(10)
        second = add(values, [2])
        values.clear()
        assert api.wait_on(first, second) == [[1, 2], [1, 10, 2]]


def test_readers_have_the_version_of_their_call(port: FakePort) -> None:
    """A later writer does not disturb an earlier reader, in whatever order they run."""
    with program(port, *TASKS):
        values = [1]
        append(values, 2)
        before = add(values, [])
        append(values, 3)
        assert api.wait_on(values, before) == [[1, 2, 3], [1, 2]]


def test_writers_without_order_all_come_before_the_next(port: FakePort) -> None:
    """COMMUTATIVE loses no writer; what comes behind CONCURRENT ones waits for all of them."""
    with program(port, *TASKS):
        values: list[Any] = []
        for number in range(4):
            append_any_time(values, number)
        assert sorted(api.wait_on(values)) == [0, 1, 2, 3]
        shared: list[Any] = []
        append(shared, 0)
        for _ in range(3):
            look_along(shared)
        last = add(shared, [])
        append(shared, 9)
        assert api.wait_on(last) == [0, "seen"]
        assert port.ran.count(f"{__name__}:look_along") == 3
        assert api.wait_on(shared) == [0, "seen", 9]


def test_what_is_read_for_the_last_time_is_forgotten(port: FakePort) -> None:
    """IN_DELETE lets the version go; the object is an ordinary one again."""
    with program(port, *TASKS):
        values = [1, 2]
        append(values, 3)
        assert api.wait_on(total(values)) == 6
        assert api.wait_on(values) == [1, 2]


def test_methods_are_tasks_on_their_object(port: FakePort) -> None:
    """`self` is written by default; the caller's object shows it after a wait."""
    with program(port, *TASKS):
        box = Box()
        box.put([1])
        assert api.wait_on(box.look()) == [1]
        box.put(2)
        assert api.wait_on(box) is box
        assert box.content == 2


def test_elements_of_collections_are_data_of_their_own(port: FakePort) -> None:
    """Futures and tracked objects in collections; elements written one by one; to the given depth."""
    with program(port, *TASKS):
        assert api.wait_on(total_of([1, add(1, 1), [3, 4]])) == 10
        rows = [[1], [2]]
        append(rows[0], 5)
        double_all(rows)
        assert api.wait_on(rows) == [[2, 10], [4]]
        numbers = [1, add(1, 1)]
        double_all(numbers)
        assert api.wait_on(numbers) == [2, 4]
        blocks: list[list[Any]] = [[object(), None], [object(), None]]
        make_blocks(blocks)
        append(blocks[0][1], 9)
        assert api.wait_on(blocks) == [[[0, 0], [0, 1, 9]], [[1, 0], [1, 1]]]
        table = {"a": 1, "b": 2}
        raise_all(table)
        assert api.wait_on(table) == {"a": 2, "b": 3}


def test_a_collection_that_changes_its_length_is_an_error(port: FakePort) -> None:
    """Elements may be changed, not added: the message names the collection."""
    with program(port, *TASKS):
        items = [[1]]
        grow(items)
        with pytest.raises(ValueError, match="collection items had 1 elements"):
            api.wait_on(items)


def test_rest_and_keywords_are_arguments_too(port: FakePort) -> None:
    """Futures in `*args` and `**kwargs` reach the task as values."""
    with program(port, *TASKS):
        assert api.wait_on(gather(add(1, 1), [add(2, 2)], key=add(3, 3))) == [(2, [4]), [("key", 6)]]


def test_tasks_call_tasks(port: FakePort) -> None:
    """Recursion, and futures that a task returns."""
    with program(port, *TASKS):
        assert api.wait_on(fibonacci(6)) == 8
        assert api.wait_on(chain_of(5)) == 5


def test_the_callers_exception_is_the_tasks_own(port: FakePort) -> None:
    """With the remote traceback as its cause and the agent in its notes; successors are cancelled for that reason."""
    with program(port, *TASKS):
        failed = fail("boom")
        behind = add(failed)
        with pytest.raises(ZeroDivisionError, match="boom") as caught:
            api.wait_on(failed)
        assert "in fail" in str(caught.value.__cause__)
        assert caught.value.__notes__ == ["Raised on agent fake, attempt 1."]
        with pytest.raises(TaskCancelled, match="ZeroDivisionError: boom"):
            api.wait_on(behind)
        assert repr(failed) == "<Future 1: failed: ZeroDivisionError>"
        with pytest.raises(ZeroDivisionError):
            api.barrier()


def test_an_ignored_failure_gives_its_default(port: FakePort) -> None:
    """IGNORE counts as done, with the value that the definition says."""
    with program(port, *TASKS):
        assert api.wait_on(add(fail_softly())) == 0


def test_an_exception_of_a_group_meets_its_barrier(port: FakePort) -> None:
    """The group's wait raises it; the rest of the group is cancelled."""
    with program(port, *TASKS), pytest.raises(GroupException, match="enough"), api.TaskGroup("group"):
        enough()
    with program(FakePort(port.folder), *TASKS):
        with api.TaskGroup("group", implicit_barrier=False):
            future = add(1)
        api.cancel_group("group")
        with pytest.raises(TaskCancelled):
            api.wait_on(future)
        with pytest.raises(ValueError, match="there is no group 'other'"):
            api.barrier_group("other")


def test_text_beside_a_file_is_text(port: FakePort, tmp_path: Path) -> None:
    """What a task with a file writes elsewhere is taken for a file only if it is the path of one of its own."""
    (tmp_path / "file").write_text("one two")
    words = ["", ""]
    with program(port, *TASKS, split_file):
        split_file(words, str(tmp_path / "file"))
        assert api.wait_on(words) == ["one", "two"]


def test_files_are_versions(port: FakePort, tmp_path: Path) -> None:
    """A file is read as it was at the call, under its own name, and is at its path when it was waited for."""
    path = tmp_path / "file.txt"
    with program(port, *TASKS):
        write_file(path, "one")
        before = read_file(path)
        extend_file(str(path), " two" * 600)
        assert api.file_exists(path) is True
        assert not path.exists()
        assert api.wait_on(before) == "file.txt:one"
        assert api.wait_on_file(path) == str(path)
        assert path.read_text() == "one" + " two" * 600
        first = read_file(path)
        path.write_text("three")
        second = read_file(path)
        path.write_text("four")
        assert api.wait_on(first, second) == ["file.txt:one" + " two" * 600, "file.txt:three"]
        write_file(path, "five")
        with api.open_file(path) as file:
            assert file.read() == "five"
        write_file(tmp_path / "late.txt", "late")
    assert (tmp_path / "late.txt").read_text() == "late"
    assert [one.name for one in tmp_path.iterdir()] in (["file.txt", "late.txt"], ["late.txt", "file.txt"])


def test_directories_are_versions(port: FakePort, tmp_path: Path) -> None:
    """What tasks put into a folder is there after a wait, and only then."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "own").write_text("own")
    with program(port, *TASKS):
        add_file(folder, "a")
        add_file(folder, "b")
        assert sorted(one.name for one in folder.iterdir()) == ["own"]
        api.wait_on_directory(folder)
        assert sorted(one.name for one in folder.iterdir()) == ["a", "b", "own"]


def test_wrong_calls_are_refused_before_anything_runs(port: FakePort, tmp_path: Path) -> None:
    """The message says which argument, and what is wrong with it."""
    with program(port, *TASKS):
        with pytest.raises(TypeError, match="add: missing a required argument: 'left'"):
            add()
        with pytest.raises(TypeError, match="too many positional"):
            add(1, 2, 3)
        with pytest.raises(FileNotFoundError, match="is no file: use DIRECTORY_IN, or _INOUT"):
            read_file(str(tmp_path))
        with pytest.raises(FileNotFoundError, match=r"there is no file .*none, and no task that was called makes it"):
            read_file(tmp_path / "none")
        with pytest.raises(TypeError, match=r"read_file: argument .* is a file or a directory: it takes a path, not 3"):
            read_file(3)
        with pytest.raises(TypeError, match=r"argument left\['key'\]\[1\] \(a lock\) cannot be pickled"):
            add({"key": [1, threading.Lock()]})
        assert port.waiting == []
        write = forget_to_write(tmp_path / "never")
        assert write is None
        with pytest.raises(FileNotFoundError, match="was to write the file never and did not"):
            api.wait_on_file(tmp_path / "never")


def _written_into(future: Any) -> None:
    future[0] = 1


USES: dict[str, Callable[[Any], object]] = {
    r"\+": lambda future: future + 1,
    r"\-": lambda future: 1 - future,
    "//": lambda future: 7 // future,
    "<": lambda future: future < 1,
    "==": lambda future: future == 3,
    "==:": lambda future: future != "3",
    "in": lambda future: 1 in future,
    r"\[…\]": lambda future: future[0],
    "=": _written_into,
    "a loop": list,
    "an index": lambda future: [1, 2][future],
    "an index:": range,
    r"int\(\)": int,
    r"float\(\)": float,
    r"len\(\)": len,
    "if, and": bool,
    r"round\(\)": round,
    r"a format \(5d\)": lambda future: f"{future:5d}",
    "a call": lambda future: future(),
}


@pytest.mark.parametrize("what", USES)
def test_a_future_is_no_value(tmp_path: Path, what: str) -> None:
    """Using it as one says of which task it is, in what it was used, and what to do."""
    with program(FakePort(str(tmp_path)), *TASKS):
        future = add(1, 2)
        said = rf"what test_tasks_nested:add returns, is no value yet and cannot be used in .*{what.rstrip(':')}.* wait"
        with pytest.raises(TypeError, match=said):
            USES[what](future)


def test_a_future_can_be_looked_at_and_kept(port: FakePort) -> None:
    """It is printed, is a key, is found among others, and travels as its value; in an f-string it is warned of."""
    with program(port, *TASKS):
        future, other = add(1, 2), add(1, 2)
        assert repr(future) == "<Future 1: pending>"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert str(future) == "<Future 1: pending>"
        with pytest.warns(RuntimeWarning, match="no value yet and is written as") as warned:
            assert f"{future}" == "<Future 1: pending>"
        assert warned[0].filename == __file__
        assert (future != other, future == future, future == None) == (True, True, False)  # noqa: E711
        assert [other, future].index(future) == 1
        assert {future: 1}[future] == 1
        with pytest.raises(AttributeError, match="add returns, is no value yet and has no 'size'"):
            _ = future.size
        assert pickle.loads(pickle.dumps([future])) == [3]
        assert repr(future) == "<Future: 3>"


def test_large_arrays_are_given_once(port: FakePort) -> None:
    """An array that did not change is not copied for each call; one that changed is, and earlier reads are safe."""
    numpy = pytest.importorskip("numpy")
    with program(port, *TASKS):
        values = numpy.ones(1000)
        first = [mean(values) for _ in range(5)]
        assert len(port.put) == 1
        values[:] = 2
        second = mean(values)
        assert len(port.put) == 2
        scale(values, 3.0)
        third = mean(values)
        assert api.wait_on(first) == [1.0] * 5
        assert api.wait_on(second, third) == [2.0, 6.0]
        assert api.wait_on(values) is values
        assert values[0] == 6.0
        values[0] = 1.0


def test_many_bytes_are_given_once(port: FakePort, small_heap: None) -> None:
    """Bytes and texts cannot change: passed to many tasks they are one version, let go when nobody has them."""
    with program(port, *TASKS):
        for number in range(3):
            data, text = bytes([number]) * 5000, str(number) * 5000
            found = api.wait_on([add(data, b"x") for _ in range(4)], add(text, "x"))
            assert found == [[data + b"x"] * 4, text + "x"]
        assert len(port.put) == 6
        del data, text, found
        api.barrier()
        assert len(port.families[0].registry) <= 2


def test_nothing_is_kept_of_what_is_gone(port: FakePort, small_heap: None) -> None:
    """Each version whose objects are gone is released once; nothing is known of an object that is gone."""
    with program(port, *TASKS):
        for number in range(300):
            append([number], number)
            add(number)
        box = Box()
        box.put(1)
        del box
        gc.collect()
        api.barrier()
        family = port.families[0]
        assert len(port.released) >= 500
        assert len(family.registry) < 300


def test_persistent_objects_travel_by_identifier(port: FakePort, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are got from the store where they are used; readers come behind writers, by whichever name of the object."""
    store = types.ModuleType("storage.api")
    store.getByID = Shelved.shelf.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "storage", types.ModuleType("storage"))
    monkeypatch.setitem(sys.modules, "storage.api", store)
    with program(port, *TASKS):
        shelved = Shelved("one")
        shelved.makePersistent()
        fill_shelved(shelved, 1)
        fill_shelved(shelved, 2)
        assert api.wait_on(content_of(shelved)) == [1, 2]
        assert api.wait_on(shelved) is shelved
        assert api.wait_on(content_of(shelve("two"))) == []
        assert port.put == []
    Shelved.shelf.clear()


def test_threads_of_a_task_call_tasks(port: FakePort) -> None:
    """Calls from several threads at a time all arrive."""
    with program(port, *TASKS):
        api.barrier()
        futures: list[Any] = []

        def call() -> None:
            futures.extend([add(number) for number in range(50)])

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(api.wait_on(futures)) == 4 * sum(range(1, 51))
