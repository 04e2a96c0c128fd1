"""Random programs with tasks, as data: what each step does, and a way to run them whatever runs the tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from agentd import api
from agentd.api.tasks.definition import Content, Direction
from tests.fakes.marked import COMMUTATIVE, INOUT, OUT, marked, of

LISTS = 4
"""Lists, boxes and files that a program has, each."""
which = st.integers(0, LISTS - 1)
number = st.integers(-9, 9)
Step = tuple[Any, ...]


class Counter:
    """A user's object with tasks as methods."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    @marked(self=INOUT)
    def note(self, value: int) -> None:
        self.seen.append(value)

    @marked(returns=1)
    def total(self) -> int:
        return sum(self.seen)


@marked(returns=1)
def joined(left: list[int], right: list[int]) -> Any:
    return [*left, *right][-50:]


@marked(values=INOUT)
def extend(values: list[int], more: list[int]) -> None:
    values.extend(more)
    del values[:-50]


@marked(values=OUT)
def overwrite(values: list[int], value: int) -> None:
    values[:] = [value]


@marked(values=COMMUTATIVE)
def add_to(values: list[int], value: int) -> None:
    values[:] = [one + value for one in values]


@marked(rows=of(Content.COLLECTION, Direction.INOUT, 1))
def rotate(rows: list[list[int]]) -> None:
    for row in rows:
        row[:] = [*row[1:], *row[:1]]


@marked(returns=1, rows=of(Content.COLLECTION, Direction.IN, 1))
def flat(rows: list[list[int]]) -> Any:
    return [value for row in rows for value in row][-50:]


@marked(returns=2)
def parted(values: list[int]) -> Any:
    return values[::2], values[1::2]


@marked(values=INOUT, returns=1)
def nested(values: list[int], depth: int, value: int) -> Any:
    extend(values, [value])
    if depth:
        inner = nested(values, depth - 1, value + 1)
        return joined(inner, [value])
    return [value]


@marked(returns=1)
def patient(values: list[int], value: int) -> Any:
    copy = list(values)
    extend(copy, [value])
    return api.wait_on(copy)


@marked(path=of(Content.FILE, Direction.INOUT))
def write_on(path: str, value: int) -> None:
    with Path(path).open("a") as file:
        file.write(f"{value} ")


@marked(path=of(Content.FILE, Direction.OUT))
def write_anew(path: str, value: int) -> None:
    Path(path).write_text(f"{value} ")


@marked(returns=1, path=of(Content.FILE))
def numbers_in(path: str) -> list[int]:
    return [int(word) for word in Path(path).read_text().split()][-50:]


TASKS = [value for value in list(globals().values()) if hasattr(value, "__agentd_task__")]
TASKS += [Counter.note, Counter.total]

steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("joined"), which, which, which),
    st.tuples(st.just("extend"), which, which),
    st.tuples(st.just("extend_by"), which, st.lists(number, max_size=3)),
    st.tuples(st.just("overwrite"), which, number),
    st.tuples(st.just("add_to"), which, number),
    st.tuples(st.just("rotate"), st.lists(which, unique=True, max_size=3)),
    st.tuples(st.just("flat"), which, st.lists(which, max_size=3)),
    st.tuples(st.just("parted"), which, which, which),
    st.tuples(st.just("nested"), which, which, st.integers(0, 2), number),
    st.tuples(st.just("patient"), which, which, number),
    st.tuples(st.just("wait"), which),
    st.tuples(st.just("change"), which, number),
    st.tuples(st.just("note"), which, number),
    st.tuples(st.just("total"), which, which),
    st.tuples(st.just("write_on"), which, number),
    st.tuples(st.just("write_anew"), which, number),
    st.tuples(st.just("read"), which, which),
    st.tuples(st.just("change_file"), which, number),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("barrier")),
)
programs = st.lists(steps, max_size=25)


class Run:
    """One run of a program; its files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.lists: list[Any] = [[index] for index in range(LISTS)]
        self.counters: list[Any] = [Counter() for _ in range(LISTS)]
        self.paths = [str(folder / f"file{index}") for index in range(LISTS)]
        for path in self.paths:
            Path(path).write_text("0 ")

    def result(self, program: list[Step]) -> Any:
        """Run it and give all that it has in the end."""
        for name, *args in program:
            getattr(self, f"do_{name}")(*args)
        found = api.wait_on(self.lists), [counter.seen for counter in api.wait_on(self.counters)]
        api.wait_on_file(*self.paths)
        return *found, [Path(path).read_text() for path in self.paths]

    def do_joined(self, to: int, left: int, right: int) -> None:
        self.lists[to] = joined(self.lists[left], self.lists[right])

    def do_extend(self, to: int, more: int) -> None:
        if to != more:
            extend(self.lists[to], self.lists[more])

    def do_extend_by(self, to: int, more: list[int]) -> None:
        extend(self.lists[to], more)
        more.clear()  # what was given must not change any more

    def do_overwrite(self, to: int, value: int) -> None:
        overwrite(self.lists[to], value)

    def do_add_to(self, to: int, value: int) -> None:
        add_to(self.lists[to], value)

    def do_rotate(self, rows: list[int]) -> None:
        chosen = {id(self.lists[row]): self.lists[row] for row in rows}  # no list twice: that has no order
        rotate(list(chosen.values()))

    def do_flat(self, to: int, rows: list[int]) -> None:
        self.lists[to] = flat([self.lists[row] for row in rows])

    def do_parted(self, one: int, two: int, values: int) -> None:
        self.lists[one], self.lists[two] = parted(self.lists[values])

    def do_nested(self, to: int, values: int, depth: int, value: int) -> None:
        found = nested(self.lists[values], depth, value)
        if to != values:
            self.lists[to] = found

    def do_patient(self, to: int, values: int, value: int) -> None:
        self.lists[to] = patient(self.lists[values], value)

    def do_wait(self, index: int) -> None:
        self.lists[index] = api.wait_on(self.lists[index])

    def do_change(self, index: int, value: int) -> None:
        self.lists[index] = values = api.wait_on(self.lists[index])
        values.append(value)

    def do_note(self, index: int, value: int) -> None:
        self.counters[index].note(value)

    def do_total(self, to: int, index: int) -> None:
        self.counters[to].note(self.counters[index].total())

    def do_write_on(self, index: int, value: int) -> None:
        write_on(self.paths[index], value)

    def do_write_anew(self, index: int, value: int) -> None:
        write_anew(self.paths[index], value)

    def do_read(self, to: int, index: int) -> None:
        self.lists[to] = numbers_in(self.paths[index])

    def do_change_file(self, index: int, value: int) -> None:
        with api.open_file(self.paths[index], "a") as file:
            file.write(f"{value} ")

    def do_delete(self, index: int) -> None:
        api.delete_object(self.lists[index])
        self.lists[index] = []

    def do_barrier(self) -> None:
        api.barrier()
