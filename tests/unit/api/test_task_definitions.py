"""`@task` reads what users write of a function, in every form, and says at once what is wrong."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

from agentd.api import (
    COLLECTION_IN,
    COLLECTION_OUT,
    CONCURRENT,
    FILE_OUT,
    IN,
    INOUT,
    STDOUT,
    DefinitionError,
    Depth,
    Keep_rename,
    Prefix,
    StdIOStream,
    Type,
    Weight,
    local,
    on_failure,
    reduction,
    task,
)
from agentd.api.decorators import parameters
from agentd.api.tasks.definition import (
    Content,
    Direction,
    Parameter,
    StandardStream,
    TaskDefinition,
    definition_of,
)

COUNT = 4


def _defined(function: Callable[..., Any]) -> TaskDefinition:
    definition = definition_of(function)
    assert definition is not None
    return definition


@task
def plain(a: Any, b: int = 2) -> Any:
    """Add."""
    return a + b


class Thing:
    def __init__(self) -> None:
        self.value = 0

    @task(target_direction=IN)
    def read(self) -> int:
        return self.value

    @task()
    def write(self, value: int) -> None:
        self.value = value

    @staticmethod
    @task(returns=1)
    def still(a: int) -> int:
        return a

    @classmethod
    @task(returns=1)
    def named(cls, a: int) -> str:
        return f"{cls.__name__}{a}"

    @task(returns=1)
    @staticmethod
    def below(a: int) -> int:
        return a


def test_a_task_is_a_function_like_any_other() -> None:
    """It has its name, text and signature, is pickled by its name, and runs in place where there is no agent."""
    assert (plain.__name__, plain.__doc__) == ("plain", "Add.")
    assert pickle.loads(pickle.dumps(plain)) is plain
    assert plain(1) == 3
    assert plain(a=1, b=5) == 6
    definition = _defined(plain)
    assert (definition.names, definition.defaults, definition.label) == (("a", "b"), {"b": 2}, f"{__name__}:plain")


def test_methods_are_tasks_with_their_object_as_target() -> None:
    """`self` is written unless it is said otherwise; static and class methods have no target."""
    thing = Thing()
    thing.write(3)
    assert thing.read() == 3
    assert _defined(thing.write).parameters == {"self": INOUT}
    assert _defined(Thing.read).parameters == {"self": IN}
    assert _defined(Thing.read).takes_target
    assert (Thing.still(2), Thing().still(2), Thing.named(1), Thing.below(7)) == (2, 2, "Thing1", 7)
    assert not _defined(Thing.still).takes_target
    assert not _defined(Thing.named).takes_target


def _nothing() -> None:
    raise AssertionError


def _first():
    if COUNT:
        return 1, 2
    return 3, 4


def _several():
    try:
        for _ in range(3):
            return 1, 2, 3
    except ValueError:
        return 1
    return None


def _inner_only():
    def inner() -> int:
        return 1

    inner()


RETURNS: list[tuple[Any, Any]] = [
    (int, 1),
    (list, 1),
    (max, 1),
    (Thing, 1),
    (3, 3),
    ("3", 3),
    ((int, str), 2),
    ([int, str, int], 3),
    ((int,), 1),
    ("$RETURNED", 5),
    ("${RETURNED}", 5),
    ({Type: COLLECTION_OUT, Depth: 2}, Parameter(content=Content.COLLECTION, direction=Direction.OUT, depth=2)),
]


@pytest.mark.parametrize(("given", "meant"), RETURNS)
def test_returns_in_every_form(given: Any, meant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A type, a number, its text, a variable of the environment, a tuple or list of types, a collection."""
    monkeypatch.setenv("RETURNED", "5")
    assert _defined(task(returns=given)(lambda: 0)).returns == meant


@pytest.mark.parametrize(
    ("given", "meant"), [("{n}", 7), ("n", 7), ("n + 1", 8), ("COUNT", 4), ("COUNT * len(blocks)", 8)]
)
def test_returns_worked_out_at_the_call(given: str, meant: int) -> None:
    """A parameter, a name of the module, or an expression over both."""

    def function(n: int, blocks: list[int]) -> Any:
        return [n] * len(blocks)

    returns = _defined(task(returns=given)(function)).returns
    assert callable(returns)
    assert returns({"n": 7, "blocks": [1, 2]}) == meant


def test_returns_found_by_looking_at_the_function() -> None:
    """Without `returns` the annotation counts, else the return statements; those of inner functions do not."""
    namespace: dict[str, Any] = {}
    exec("def f():\n    return 1\n", namespace)  # no source to look at
    looked = [_defined(task()(function)).returns for function in (_first, _several, _inner_only, namespace["f"])]
    assert looked == [2, 1, None, 1]
    assert _defined(task()(_nothing)).returns is None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("None", None),
        ("int", 1),
        ("tuple[int, str]", 2),
        ("Tuple[int, str, int]", 3),
        ("typing.Tuple[int, int]", 2),
        ("tuple[int, ...]", 1),
        ("list[int]", 1),
        ("NoReturn", None),
        (None, None),
        (int, 1),
        (tuple[int, int], 2),
        (tuple[int, ...], 1),
        ((int, str), 2),
        ([int, str, int], 3),
        ("(int, str)", 2),
        ("[int]", 1),
        ((), 1),
    ],
)
def test_returns_by_annotation(said: Any, meant: Any) -> None:
    """What the annotation says, as a text or as a type."""

    def function() -> Any:
        return 0

    function.__annotations__["return"] = said
    assert _defined(task()(function)).returns == meant


def test_a_variable_that_is_not_set_is_told_by_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """By each call that would count by it; a worker that only runs the task need not have it."""
    monkeypatch.delenv("HOW_MANY", raising=False)
    returns = _defined(task(returns="$HOW_MANY")(lambda: 0)).returns
    assert callable(returns)
    with pytest.raises(DefinitionError, match=r"returns of task .*HOW_MANY holds no number"):
        returns({})


def test_a_type_may_be_named_by_text() -> None:
    """One value of it."""
    assert _defined(task(returns="int")(lambda: 0)).returns == 1


@pytest.mark.parametrize("given", [-1, 100_001, "-", "n +"])
def test_returns_that_cannot_be(given: Any) -> None:
    """A number that is none, or a text that gives none, is refused before anything runs."""
    with pytest.raises(DefinitionError, match="returns of task"):
        _defined(task(returns=given)(lambda: 0))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (INOUT, INOUT),
        ({Type: COLLECTION_IN, Depth: 2}, Parameter(content=Content.COLLECTION, depth=2)),
        ({"type": COLLECTION_IN, "DEPTH": "2"}, Parameter(content=Content.COLLECTION, depth=2)),
        ({Type: FILE_OUT, StdIOStream: STDOUT}, parameters.FILE_STDOUT),
        (
            {Type: FILE_OUT, StdIOStream: "stdout", Prefix: "-o", Keep_rename: True, Weight: "2.5"},
            Parameter(
                content=Content.FILE,
                direction=Direction.OUT,
                stream=StandardStream.STDOUT,
                prefix="-o",
                weight=2.5,
                cache=False,
            ),
        ),
        ({"direction": INOUT}, INOUT),
        ({"direction": "concurrent"}, CONCURRENT),
        (Direction.INOUT, INOUT),
    ],
)
def test_parameters_in_both_forms(given: Any, meant: Parameter) -> None:
    """A name, or a dict whose keys say more, however they are spelled."""
    assert _defined(task(a=given)(lambda a: a)).parameters == {"a": meant}


@pytest.mark.parametrize(
    "given", [int, "INOUT", {Type: int}, {Depth: 0}, {"depht": 1}, {Weight: -1}, {Weight: "nan"}, {StdIOStream: "x"}]
)
def test_parameters_that_cannot_be(given: Any) -> None:
    """What says nothing of a parameter's use is refused where the function is decorated."""
    with pytest.raises(DefinitionError, match="parameter a of task"):
        task(a=given)(lambda a: a)


def test_directions_of_further_arguments() -> None:
    """`*args` have the direction of `varargs_type`; any name may be said of `**kwargs`."""

    def function(a: Any, *rest: Any, **named: Any) -> Any:
        return a, rest, named

    definition = _defined(task(returns=1, a=IN, varargs_type=INOUT, other=INOUT)(function))
    assert definition.parameters == {"a": IN, "rest": INOUT, "other": INOUT}
    assert (definition.varargs, definition.varkwargs) == ("rest", "named")
    with pytest.raises(DefinitionError, match=r"no \*args"):
        task(varargs_type=IN)(lambda a: a)


def test_all_arguments_of_task() -> None:
    """Each is kept for the runtime in its words."""
    words: dict[str, Any] = {"priority": True, "time_out": 5, "on_failure": "ignore", "is_replicated": True}
    more: dict[str, Any] = {"is_distributed": True, "defaults": {"returns": 1, "a": []}, "cache_returns": False}
    definition = _defined(task(returns=1, a=INOUT, tracing_hook=True, computing_nodes=1, **words, **more)(lambda a: a))
    assert (definition.priority, definition.timeout_s, definition.on_failure) == (1, 5.0, "IGNORE")
    assert (definition.is_replicated, definition.is_distributed) == (True, True)
    assert definition.failure_defaults == {"returns": 1, "a": []}


def test_older_names_are_understood_and_warned_of() -> None:
    """What an argument was called once still works; what says nothing any more says so."""
    with pytest.warns(FutureWarning, match="Deprecated argument timeOut"):
        assert _defined(task(timeOut=3)(lambda: 0)).timeout_s == 3
    with pytest.warns(FutureWarning, match="targetDirection"):
        decorate = task(targetDirection=CONCURRENT)

    class Target:
        @decorate
        def method(self) -> int:
            return 1

    assert _defined(Target.method).parameters == {"self": CONCURRENT}
    for name in ("isReplicated", "isDistributed", "computingNodes", "varargsType"):
        with pytest.warns(FutureWarning, match=name):
            task(**{name: IN if name == "varargsType" else 1})
    with pytest.warns(FutureWarning, match="workingDir"):
        task(workingDir="/tmp")
    with pytest.raises(DefinitionError, match="isModifier"):
        task(isModifier=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"b": INOUT}, "Unexpected argument b"),
        ({"aa": INOUT}, "did you mean a"),
        ({"prioriti": True}, "did you mean priority"),
        ({"on_failure": "PANIC"}, "RETRY, FAIL, IGNORE, CANCEL_SUCCESSORS"),
        ({"time_out": -1}, "time_out"),
        ({"time_out": "soon"}, "time_out"),
        ({"defaults": {"z": 1}}, "no parameter z"),
        ({"computing_nodes": 0}, "1 or more"),
    ],
)
def test_wrong_arguments_are_refused(given: dict[str, Any], said: str) -> None:
    """The message names the argument, the task and what there is."""
    with pytest.raises(DefinitionError, match=said):
        task(**given)(lambda a: a)


def test_what_stands_above_a_task_needs_a_task() -> None:
    """Decorators in the wrong order are told which order is right."""
    with pytest.raises(DefinitionError, match="stands above @task"):
        on_failure(management="FAIL")(lambda: 0)
    with pytest.raises(DefinitionError, match="by name"):
        task(3)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="needs management"):
        on_failure()


def test_failure_policies_with_their_values() -> None:
    """The decorator's policy and values replace those of @task."""
    function = on_failure(management="IGNORE", returns=0, a=[1])(task(returns=1, a=INOUT)(lambda a: a))
    definition = _defined(function)
    assert (definition.on_failure, definition.failure_defaults) == ("IGNORE", {"returns": 0, "a": [1]})
    with pytest.raises(DefinitionError, match="no parameter b"):
        on_failure(management="IGNORE", b=1)(task()(lambda a: a))


@pytest.mark.parametrize("chunk", [-1, 1, "x", "1"])
def test_a_reduction_needs_a_chunk_that_ends(chunk: Any) -> None:
    """One element for each call would go on for ever."""
    with pytest.raises(DefinitionError, match="chunk_size"):
        reduction(chunk_size=chunk)(task(returns=1, a=COLLECTION_IN)(lambda a: a))


def test_a_reduction_needs_one_collection() -> None:
    """None, or two, leave open what is to be reduced."""
    with pytest.raises(DefinitionError, match="exactly one COLLECTION_IN"):
        reduction()(task(returns=1)(lambda a: a))
    assert reduction(chunk_size="2")(task(returns=1, a=COLLECTION_IN)(lambda a: sum(a, 0)))([1, 2, 3]) == 6


def test_a_local_function_is_called_with_values() -> None:
    """Without an agent the arguments are the values."""

    @local
    def add(a: int, *, b: int) -> int:
        return a + b

    assert add(1, b=2) == 3


def test_every_specification_has_its_direction_and_content() -> None:
    """The name of each says what it is; `FILE`, `COLLECTION`, … alone are read."""
    assert len(parameters.NAMES) == 50
    for name in parameters.NAMES:
        found: Parameter = getattr(parameters, name)
        words = [word for word in name.split("_") if word not in {"STDIN", "STDOUT", "STDERR"}]
        written = "IN_DELETE" if name.endswith("IN_DELETE") else words[-1]
        if written not in Direction.__members__:
            written = "OUT" if name in {"FILE_STDOUT", "FILE_STDERR"} else "IN"
        assert found.direction is Direction[written], name
        stream = name.rpartition("_")[2]
        assert found.stream is (StandardStream[stream] if stream in StandardStream.__members__ else StandardStream.NONE)
        content = {"FILE": Content.FILE, "DIRECTORY": Content.DIRECTORY, "DICTIONARY": Content.DICTIONARY}
        content |= {"STREAM": Content.STREAM}
        if words[0] == "COLLECTION":
            assert found.content is (Content.FILES if "FILE" in words else Content.COLLECTION)
        else:
            assert found.content is content.get(words[0], Content.OBJECT)


def test_decorating_loads_the_standard_library_only() -> None:
    """A worker whose Python has nothing else installed can import programs with tasks."""
    import subprocess

    code = "import sys; sys.path.insert(0, sys.argv[1]); import agentd.api as a; a.task; a.http"
    code += "; print(sorted({'msgspec', 'httpx', 'numpy', 'cloudpickle', 'urllib3'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(parameters.__file__).partition("/agentd/api/")[0]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (dict, "stands above a function, not above <class 'dict'>"),
        (asyncio.sleep, r"sleep is a coroutine's: .* decorate a function that calls asyncio\.run"),
        (property(len), "stands above a function, not above <property"),
    ],
)
def test_what_cannot_be_a_task(function: Any, words: str) -> None:
    """Is refused where it is decorated, with what to do instead."""
    with pytest.raises(DefinitionError, match=words):
        task()(function)


@pytest.mark.parametrize("name", ["priority", "is_replicated", "is_distributed", "is_reduce"])
def test_flags_are_true_or_false(name: str) -> None:
    """The message names the argument."""
    with pytest.raises(DefinitionError, match=f"{name} of task .* cannot be 'maybe': it is True or False"):
        task(**{name: "maybe"})(lambda a: a)
