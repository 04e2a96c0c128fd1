"""A program for PyCOMPSs, row by row: each function uses one thing and gives what came of it."""
# ruff: noqa: F403, F405, B905, PLW2901, ERA001 - written as programs are

import os
import time
import warnings
from pathlib import Path

from pycompss.api.api import (
    TaskGroup,
    compss_barrier,
    compss_barrier_group,
    compss_cancel_group,
    compss_delete_file,
    compss_delete_object,
    compss_file_exists,
    compss_get_number_of_resources,
    compss_open,
    compss_set_wall_clock,
    compss_wait_on,
    compss_wait_on_directory,
    compss_wait_on_file,
)
from pycompss.api.binary import binary
from pycompss.api.constraint import constraint
from pycompss.api.container import container
from pycompss.api.epilog import epilog
from pycompss.api.exceptions import COMPSsException
from pycompss.api.implement import implement
from pycompss.api.IO import IO
from pycompss.api.local import local
from pycompss.api.mpi import mpi
from pycompss.api.on_failure import on_failure
from pycompss.api.parameter import *
from pycompss.api.prolog import prolog
from pycompss.api.reduction import reduction
from pycompss.api.task import task
from pycompss.functions.data import generator
from pycompss.functions.reduce import merge_n_reduce, merge_reduce
from pycompss.util.context import in_worker


def quietly(*objs):
    """Wait; gives the values and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return compss_wait_on(*objs), [str(one.message) for one in caught]


# --- who runs, and when


@task(returns=1)
def who(_=None):
    return os.getpid()


def in_workers():
    """Tasks run in processes of their own, and know where they are."""
    pids = compss_wait_on([who() for _ in range(4)])
    return [in_worker(), os.getpid() in pids, compss_get_number_of_resources()]


# --- directions


@task(a=INOUT)
def append(a, n):
    a.append(n)


@task(a=OUT)
def replaced(a):
    a.append("new")


@task(a=IN_DELETE, returns=list)
def taken(a):
    return [*a, "taken"]


@task(a=CONCURRENT)
def together(a, path, n):
    with open(path, "a") as file:
        file.write(f"{n}\n")


@task(a=COMMUTATIVE)
def in_any_order(a, n):
    a.append(n)


@task(returns=list)
def seen(a):
    return list(a)


def directions(path):
    a, b, c, d = [], ["old"], [], []
    for n in range(5):
        append(a, n)
    before = seen(a)
    append(a, 5)
    replaced(b)
    given = taken([1])
    for n in range(4):
        together(c, path, n)
        in_any_order(d, n)
    compss_barrier()
    found = compss_wait_on(a, before, b, given)
    return [*found, sorted(Path(path).read_text().split()), sorted(compss_wait_on(d))]


# --- files, directories, streams


@task(path=FILE_OUT)
def write(path, text):
    Path(path).write_text(text)


@task(path=FILE_INOUT)
def extend(path, text):
    with open(path, "a") as file:
        file.write(text)


@task(path=FILE_IN, returns=str)
def read(path):
    return Path(path).read_text()


@task(paths=COLLECTION_FILE_IN, out=COLLECTION_FILE_OUT)
def copy_all(paths, out):
    for source, target in zip(paths, out):
        Path(target).write_text(Path(source).read_text().upper())


@task(folder=DIRECTORY_OUT)
def fill(folder):
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "a").write_text("A")


@task(folder=DIRECTORY_INOUT)
def refill(folder):
    (Path(folder) / "b").write_text("B")


@task(folder=DIRECTORY_IN, returns=list)
def listed(folder):
    return sorted(f"{file.name}={file.read_text()}" for file in Path(folder).iterdir())


def files(folder):
    path = f"{folder}/file"
    write(path, "one ")
    first = read(path)
    extend(path, "two")
    exists = compss_file_exists(path, f"{folder}/never")
    there = compss_wait_on_file(path)
    copy_all([path, path], [f"{folder}/x", f"{folder}/y"])
    with compss_open(f"{folder}/y") as opened:
        upper = opened.read()
    fill(f"{folder}/dir")
    refill(f"{folder}/dir")
    inside = listed(f"{folder}/dir")
    waited = compss_wait_on_directory(f"{folder}/dir")
    deleted = compss_delete_file(f"{folder}/x")
    return [
        *(compss_wait_on(first), exists, there, Path(path).read_text(), upper, compss_wait_on(inside), waited, deleted),
        sorted(one.name for one in (Path(folder) / "dir").iterdir()),
    ]


@binary(binary="cat")
@task(source=FILE_STDIN, out=FILE_STDOUT)
def cat(source, out):
    pass


@binary(binary="sh", args="-c 'echo {{word}}; echo warned >&2; exit {{code}}'", fail_by_exit_value=False)
@task(out={Type: FILE_OUT_STDOUT}, err=FILE_STDERR, returns=int)
def shout(word, code, out, err):
    pass


def streams(folder):
    Path(f"{folder}/in").write_text("given")
    cat(f"{folder}/in", f"{folder}/out")
    code = shout("hello", 3, f"{folder}/said", f"{folder}/log")
    compss_wait_on_file(f"{folder}/out", f"{folder}/said", f"{folder}/log")
    return [Path(f"{folder}/{name}").read_text() for name in ("out", "said", "log")] + [compss_wait_on(code)]


@binary(binary="not_on_the_list_of_anybody")
@task(returns=int)
def unknown_program():
    pass


@mpi(runner="mpirun_of_nobody", processes=2)
@task(returns=2)
def ranks():
    return 1


@container(engine="SINGULARITY", image="none.sif")
@task(returns=1)
def boxed():
    return 1


def missing():
    return quietly(unknown_program(), ranks()[0], boxed())


@prolog(binary="sh", args="-c 'echo before >> {{path}}'")
@epilog(binary="sh", args="-c 'echo after >> {{path}}'")
@task(path=FILE_INOUT)
def between(path):
    with open(path, "a") as file:
        file.write("task\n")


def hooks(folder):
    path = f"{folder}/hooks"
    Path(path).write_text("")
    between(path)
    compss_wait_on_file(path)
    return Path(path).read_text().split()


# --- collections and dictionaries


@task(blocks={Type: COLLECTION_INOUT, Depth: 2})
def double(blocks):
    for row in blocks:
        for block in row:
            block *= 2


@task(blocks={Type: COLLECTION_IN, Depth: 2}, returns=int)
def total(blocks):
    return sum(sum(block) for row in blocks for block in row)


@task(out=COLLECTION_OUT)
def made(out):
    for place in range(len(out)):
        out[place] = [place]


@task(d=DICTIONARY_INOUT)
def raised(d):
    for key in d:
        d[key] = [d[key][0] + 1]


@task(d=DICTIONARY_IN, returns=int)
def added(d):
    return sum(value[0] for value in d.values())


def collections():
    blocks = [[[1], [2]], [[3], [4]]]
    append(blocks[0][0], 10)
    before = total(blocks)
    double(blocks)
    out = [object() for _ in range(3)]
    made(out)
    append(out[2], 7)
    d = {"a": [1], "b": [2]}
    raised(d)
    sums = added(d)
    return [*compss_wait_on(before, blocks, out, sums, d), compss_delete_object(blocks[0][0])]


# --- returns, arguments, methods


@task(returns="{n}")
def several(n):
    return list(range(n))


@task(returns=(int, str))
def pair():
    return 1, "a"


@task(returns={Type: COLLECTION_OUT, Depth: 1})
def collected(n):
    return [n] * 3


@task(varargs_type=INOUT)
def extended(*lists):
    for one in lists:
        one.append("x")


@task(returns=1, rest=INOUT)
def keywords(a, *args, b=2, **rest):
    return [a, args, b, rest]


class Counter:
    def __init__(self):
        self.value = 0

    @task()
    def add(self, n):
        self.value += n

    @task(returns=int, target_direction=IN)
    def get(self):
        return self.value

    @classmethod
    @task(returns=1)
    def name(cls):
        return cls.__name__

    @staticmethod
    @task(returns=1)
    def twice(n):
        return 2 * n


@task(returns=Counter)
def fresh():
    return Counter()


def arguments():
    some = compss_wait_on(several(3))
    first, second = pair()
    lists = [[], []]
    extended(*lists)
    counter = Counter()
    counter.add(2)
    counter.add(3)
    other = fresh()
    other.add(9)
    named = keywords(1, 3, 4, z=5)
    values = compss_wait_on(first, second, lists, named, collected(2), counter.get(), other.get())
    return [some, *values, compss_wait_on(Counter.name(), Counter.twice(4))]


@local
def plainly(a, b=0):
    return a + b


@constraint(computing_units="n", memory_size="0.001")
@task(returns=int)
def wide(n):
    return int(os.environ["COMPSS_NUM_THREADS"])


@IO()
@task(returns=int)
def light():
    return 5


@task(returns=str)
def slow_way():
    return "source"


@implement(source_class="compss_rows", method="slow_way")
@task(returns=str)
def other_way():
    return "other"


@constraint(processors=[{"processorType": "GPU", "computingUnits": 1}])
@implement(source_class="compss_rows", method="slow_way")
@task(returns=str)
def gpu_way():
    return "gpu"


def decorators():
    chosen = compss_wait_on([slow_way() for _ in range(6)])
    return [plainly(light(), b=light()), compss_wait_on(wide(1)), compss_wait_on(wide(2)), sorted(set(chosen))]


# --- reductions and functions


@reduction(chunk_size="4")
@task(returns=tuple, parts=COLLECTION_IN)
def summed(parts):
    numbers = [part if isinstance(part, int) else part[0] for part in parts]
    return sum(numbers), 1 + sum(part[1] for part in parts if not isinstance(part, int))


@task(returns=int)
def plus(*numbers):
    return sum(numbers)


def reductions():
    tree = summed(list(range(16)))
    numbers = [plus(n) for n in range(7)]
    found = compss_wait_on(tree, merge_reduce(plus, numbers), merge_n_reduce(plus, 3, numbers))
    data = generator((4, 2), 2, seed=3, wait=True)
    return [*found, [len(piece) for piece in data]]


# --- failures


@on_failure(management="RETRY")
@task(returns=int)
def tried(path):
    with open(path, "a") as file:
        file.write("x")
    raise ValueError("never")


@on_failure(management="IGNORE", returns=7, a=["default"])
@task(returns=int, a=INOUT)
def ignored(a):
    raise ValueError("ignored")


@on_failure(management="CANCEL_SUCCESSORS")
@task(a=INOUT)
def stops(a):
    if len(a) == 2:
        raise ValueError("enough")


@on_failure(management="FAIL")
@task(returns=int)
def fails():
    raise KeyError("reason")


@task(returns=int, time_out=1)
def too_long(path):
    with open(path, "a") as file:
        file.write("t")
    time.sleep(30)


def failures(folder):
    (tries, reasons), a, b = quietly(tried(f"{folder}/tries")), ["mine"], []
    value = compss_wait_on(ignored(a))
    for n in range(5):
        append(b, n)
        stops(b)
    failed, said = quietly(fails())
    return [
        *(tries, "never" in reasons[0], len(Path(f"{folder}/tries").read_text()), value, compss_wait_on(a)),
        *(compss_wait_on(b), failed, "KeyError" in said[0]),
    ]


def time_outs(folder):
    found, said = quietly(too_long(f"{folder}/late"))
    return [found, "longer" in said[0]]


# --- groups


@task(returns=int)
def member(n):
    if n == 2:
        raise COMPSsException("found")
    return n


@task(path=FILE_INOUT)
def note(path, text, nap=0):
    time.sleep(nap)
    with open(path, "a") as file:
        file.write(text)


def groups(folder):
    path, found = f"{folder}/notes", []
    Path(path).write_text("")
    with TaskGroup("first"):
        note(path, "1")
    try:
        with TaskGroup("search"):
            for n in range(4):
                member(n)
    except COMPSsException as error:
        found.append(error.message)
    with TaskGroup("long", implicit_barrier=False):
        note(path, "x", 60)
        note(path, "y", 60)
    compss_cancel_group("long")
    compss_barrier_group("first")
    for _ in range(2):
        note(path, "2")
    compss_wait_on_file(path)
    return [*found, Path(path).read_text()]


def wall_clock():
    compss_set_wall_clock(1)
    nap = note_nothing(60)
    return quietly(nap)


@task(returns=1)
def note_nothing(nap):
    time.sleep(nap)
    return nap


@task(path=FILE_INOUT)
def note_and_end(path, text):
    with open(path, "a") as file:
        file.write(text)
    raise COMPSsException("noted")


def after_a_group(folder):
    """What was written before the group ended is there, what was cancelled is not, and one can go on with it."""
    path = f"{folder}/after"
    Path(path).write_text("")
    note(path, "1")
    try:
        with TaskGroup("ends"):
            for _ in range(3):
                note_and_end(path, "3")
    except COMPSsException:
        note(path, "2")
    note(path, "1")
    compss_wait_on_file(path)
    return Path(path).read_text()


@task(paths=COLLECTION_FILE_OUT)
def write_each(paths, text):
    for number, path in enumerate(paths):
        Path(path).write_text(f"{text}{number}")


@task(paths=COLLECTION_FILE_INOUT)
def add_to_each(paths, text):
    for path in paths:
        with open(path, "a") as file:
            file.write(text)


@task(paths=COLLECTION_FILE_IN, returns=list)
def read_each(paths):
    return [Path(path).read_text() for path in paths]


def file_collections(folder):
    """Paths in a collection stay paths, whatever tasks do with the files."""
    paths = [f"{folder}/file{number}" for number in range(3)]
    write_each(paths, "a")
    add_to_each(paths, "b")
    add_to_each(paths[:2], "c")
    found = compss_wait_on(read_each(paths))
    compss_barrier(no_more_tasks=True)
    return [found, [Path(path).read_text() for path in paths], all(isinstance(path, str) for path in paths)]
