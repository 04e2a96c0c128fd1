"""PyCOMPSs' names: each is where programs import it from, means the same, and works in a plain program."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentd.api
from agentd.api.decorators import parameters
from agentd.api.decorators.errors import DefinitionError, Unavailable
from agentd.api.tasks.definition import definition_of

HOME = Path(agentd.api.__file__).parents[1] / "pycompss"

DECORATORS = {
    "task": ("task", "Task"),
    "constraint": ("constraint", "Constraint"),
    "implement": ("implement", "Implement", "implements"),
    "implements": ("implement", "implements"),
    "binary": ("binary", "Binary"),
    "mpi": ("mpi", "Mpi", "MPI"),
    "mpmd_mpi": ("mpmd_mpi", "MpmdMPI", "Mpmd_mpi", "MPMDMPI"),
    "http": ("http", "Http", "HTTP"),
    "container": ("container", "Container"),
    "multinode": ("multinode", "Multinode", "MultiNode"),
    "reduction": ("reduction", "Reduction"),
    "on_failure": ("on_failure", "OnFailure", "onFailure"),
    "IO": ("IO", "io"),
    "prolog": ("prolog", "Prolog"),
    "epilog": ("epilog", "Epilog"),
    "local": ("local", "Local"),
}
MISSING = {
    "compss": ("compss", "COMPSs"),
    "ompss": ("ompss", "OmpSs"),
    "opencl": ("opencl", "OpenCL"),
    "decaf": ("decaf", "Decaf"),
    "julia": ("julia", "Julia"),
    "software": ("software", "Software"),
    "data_transformation": ("data_transformation", "dt", "dto"),
}
FUNCTIONS = {
    "compss_start": ("log_level", "tracing", "interactive", "disable_external"),
    "compss_stop": ("code", "_hard_stop"),
    "compss_wait_on": ("objs", "mode"),
    "compss_wait_on_file": ("file_name",),
    "compss_wait_on_directory": ("directory_name",),
    "compss_open": ("file_name", "mode"),
    "compss_file_exists": ("file_name",),
    "compss_delete_file": ("file_name",),
    "compss_delete_object": ("objs",),
    "compss_barrier": ("no_more_tasks",),
    "compss_barrier_group": ("group_name",),
    "compss_cancel_group": ("group_name",),
    "compss_snapshot": (),
    "compss_get_number_of_resources": (),
    "compss_request_resources": ("num_resources", "group_name"),
    "compss_free_resources": ("num_resources", "group_name"),
    "compss_set_wall_clock": ("wall_clock_limit",),
    "compss_add_logger": ("logger_name",),
}


def _module(name: str) -> Any:
    return importlib.import_module(f"pycompss.{name}")


def test_the_package_is_ours() -> None:
    """What is tested is the package of this project, and not one that is installed."""
    assert str(HOME) in str(_module("api").__file__)


@pytest.mark.parametrize("module", DECORATORS)
def test_decorators_under_all_their_names(module: str) -> None:
    """Lower case and capitalised mean the same; each is the decorator of `agentd.api`, but for how strict @task is."""
    found = _module(f"api.{module}")
    first, *others = DECORATORS[module]
    assert all(getattr(found, name) is getattr(found, first) for name in others)
    if module != "task":
        assert getattr(found, first) is getattr(agentd.api, first)


def test_an_argument_of_task_that_is_none_is_warned_of() -> None:
    """As in PyCOMPSs the program goes on; `agentd.api` refuses the same."""
    with pytest.warns(UserWarning, match="Unexpected argument b"):
        function = _module("api.task").task(returns=1, b=parameters.INOUT)(lambda a: a)
    assert function(3) == 3
    with pytest.raises(DefinitionError, match="Unexpected argument b"):
        agentd.api.task(returns=1, b=parameters.INOUT)(lambda a: a)


def test_parameters_and_keys() -> None:
    """All specifications and all keys are there, and mean what they mean in `agentd.api`."""
    found = _module("api.parameter")
    older = {name.replace("DICTIONARY", "DICT_COLLECTION"): name for name in parameters.NAMES if "DICTIONARY" in name}
    more = {*older, "Direction", "STDIN", "STDOUT", "STDERR"}
    assert {*parameters.NAMES, *parameters.KEYS, *more} == set(found.__all__)
    assert all(getattr(found, old) is getattr(parameters, name) for old, name in older.items())
    assert all(getattr(found, name) is getattr(parameters, name) for name in parameters.NAMES)
    spec = {found.Type: found.COLLECTION_IN, found.Depth: 2, found.Direction: found.INOUT, found.Keep_rename: False}
    definition = definition_of(_module("api.task").task(a=spec)(lambda a: a))
    assert definition is not None
    assert definition.parameters["a"].depth == 2
    assert definition.parameters["a"].direction is parameters.INOUT.direction


@pytest.mark.parametrize("where", ["api.api", "api.dummy.api"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_what_they_took(name: str, where: str) -> None:
    """Names and order of arguments are those that programs were written for."""
    signature = inspect.signature(getattr(_module(where), name))
    expected = FUNCTIONS[name]
    taken = tuple(signature.parameters)
    if where == "api.api":
        assert taken == expected
    else:
        assert len(taken) == len(expected)


@pytest.mark.parametrize("where", ["api.api", "api.dummy.api"])
def test_functions_in_a_plain_program(where: str, tmp_path: Path) -> None:
    """Without a runtime each does what its table says: gives arguments back, opens, looks, or nothing."""
    api, file = _module(where), tmp_path / "file"
    file.write_text("text")
    assert (api.compss_wait_on(1), api.compss_wait_on([1], 2, mode="r")) == (1, [[1], 2])
    assert api.compss_wait_on_file(str(file)) == str(file)
    assert api.compss_wait_on_directory(str(tmp_path), str(tmp_path)) == [str(tmp_path)] * 2
    with api.compss_open(str(file)) as opened:
        assert opened.read() == "text"
    assert api.compss_file_exists(str(file), str(tmp_path / "other")) == [True, False]
    assert api.compss_delete_object(1) is True
    assert api.compss_delete_file(str(file)) is True
    assert api.compss_get_number_of_resources() == 1
    for nothing in (api.compss_start, api.compss_barrier, api.compss_snapshot, api.compss_stop):
        assert nothing() is None
    api.compss_request_resources(1, None)
    api.compss_free_resources(1, "group")
    api.compss_set_wall_clock(5)
    with api.TaskGroup("group", implicit_barrier=False):
        api.compss_barrier_group("group")
        api.compss_cancel_group("group")
    with pytest.raises(_module("util.exceptions").NotInPyCOMPSsException):
        api.compss_add_logger("name")


@pytest.mark.parametrize("module", MISSING)
def test_what_is_not_offered_can_be_imported_and_says_so_when_it_is_used(module: str) -> None:
    """A module with such tasks can be imported, its other tasks run, and a call says what to do instead."""
    found = _module(f"api.{module}")
    for name in MISSING[module]:
        function = getattr(found, name)(first="x", second=1)(_module("api.task").task()(lambda: 0))
        with pytest.raises(Unavailable, match=f"@{MISSING[module][0]} .* is not offered here: "):
            function()


def test_streams_and_data_sets_say_so_too() -> None:
    """Their classes are there for imports, and none can be made."""
    streams = _module("streams.distro_stream")
    for name in ("FileDistroStream", "ObjectDistroStream", "PscoDistroStream"):
        with pytest.raises(Unavailable, match=name):
            getattr(streams, name)("alias")
    with pytest.raises(Unavailable, match="data sets"):
        _module("dds").DDS()


@pytest.mark.parametrize(
    "module", ["task", "constraint", "container", "on_failure", "reduction", "binary", "mpi", "implement", "local"]
)
def test_dummies_leave_functions_alone(module: str) -> None:
    """With arguments or without, the function that comes out is the one that went in."""
    found = _module(f"api.dummy.{module}")

    def function() -> int:
        return 1

    decorate = getattr(found, module)
    assert decorate(returns=1, anything=2)(function) is function
    assert decorate(function) is function


def test_exceptions_are_those_that_are_raised() -> None:
    """A program that catches PyCOMPSs' names catches ours."""
    errors = _module("util.exceptions")
    with pytest.raises(errors.PyCOMPSsException):
        _module("api.binary").binary()
    from agentd.api import GroupException

    error = _module("api.exceptions").COMPSsException("enough")
    assert isinstance(error, GroupException)
    assert (error.message, str(error)) == ("enough", "enough")


def test_maps_reductions_and_data() -> None:
    """Trees give what folding gives, for every length and arity; data are the same for a seed."""
    reduce, data = _module("functions.reduce"), _module("functions.data")
    for length in range(1, 9):
        numbers = list(range(length))
        assert reduce.merge_reduce(lambda a, b: a + b, numbers) == sum(numbers)
        for arity in (2, 3, 5):
            assert reduce.merge_n_reduce(lambda *some: sum(some), arity, numbers) == sum(numbers)
        assert numbers == list(range(length))
    changed = reduce.merge_reduce(lambda a, b: a.extend(b), [[1], [2], [3]])
    assert sorted(changed) == [1, 2, 3]
    assert reduce.merge_reduce(max, []) is None
    with pytest.raises(ValueError, match="arity"):
        reduce.merge_n_reduce(max, 1, [1, 2])
    assert _module("functions.map").map(lambda a, b: a * b, [1, 2], [3, 4]) == [3, 8]
    assert list(data.chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(data.chunks([1, 2, 3, 4, 5], 2, balanced=True)) == [[1, 2, 3], [4, 5]]
    for distribution in ("random", "normal", "uniform"):
        made = data.generator((6, 2), 3, seed=1, distribution=distribution, wait=True)
        assert [len(fragment) for fragment in made] == [2, 2, 2]
        assert made == data.generator((6, 2), 3, seed=1, distribution=distribution)
    with pytest.raises(ValueError, match="distribution"):
        data.generator((6, 2), 3, distribution="cauchy")


def test_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timed function gives its result and its seconds; a profiled one names what it needs where that is missing."""
    timed = _module("functions.elapsed_time")
    result, seconds = timed.timeit()(lambda: 7)()
    assert result == 7
    assert seconds >= 0
    assert timed.TimeIt is timed.TIMEIT is _module("functions.elapsedTime").timeit
    monkeypatch.setitem(sys.modules, "memory_profiler", None)
    with pytest.raises(Unavailable, match="memory_profiler is not installed on this device"):
        _module("functions.profile").profile()(lambda: 1)()


def test_where_a_program_runs() -> None:
    """A plain program is outside of any runtime."""
    context = _module("util.context")
    assert (context.in_pycompss(), context.in_worker(), context.in_master()) == (False, False, False)


def test_a_real_pycompss_comes_first(tmp_path: Path) -> None:
    """The folder stands last on the path: a package of that name anywhere before it is the one that is found."""
    (tmp_path / "pycompss").mkdir()
    (tmp_path / "pycompss" / "__init__.py").write_text("real = True")
    code = f"import sys; sys.path[:] = [{str(tmp_path)!r}, *sys.path, {str(HOME)!r}]; import pycompss; pycompss.real"
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0
