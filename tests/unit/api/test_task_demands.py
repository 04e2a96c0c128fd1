"""`@constraint` says in the words of the engine what a task demands, whatever form its values have."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentd.api import IO, DefinitionError, constraint, task
from agentd.api.tasks.definition import TaskDefinition, definition_of
from agentd.core.tasks.demands import demand_of, sound
from agentd.model.task import Constraints, Template, WantedProcessor
from schedulers.capacity import Capacity, Kind, Processor

FACTOR = 3


def _above(**given: Any) -> TaskDefinition:
    @constraint(**given)
    @task(returns=1)
    def function(n: int = 2, blocks: Any = ()) -> Any:
        return n, blocks

    definition = definition_of(function)
    assert definition is not None
    return definition


KEYS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"computing_units": "2"}, {"computing_units": 2}),
    ({"ComputingUnits": 2}, {"computing_units": 2}),
    ({"computingUnits": "${UNITS}"}, {"computing_units": 4}),
    ({"computing_units": "$UNITS"}, {"computing_units": 4}),
    ({"computing_units": "$NO_SUCH_VARIABLE"}, {}),
    ({"is_local": True}, {"is_local": True}),
    ({"isLocal": "true"}, {"is_local": True}),
    ({"processor_name": "Main"}, {"processor_name": "Main"}),
    ({"processor_speed": "2.4"}, {"processor_speed_ghz": 2.4}),
    ({"processor_architecture": "amd64"}, {"processor_architecture": "amd64"}),
    ({"processor_type": "CPU"}, {}),
    ({"processor_type": "GPU"}, {"gpus": 1}),
    ({"processor_type": "GPU", "computing_units": "2"}, {"gpus": 2}),
    ({"processor_internal_memory_size": "8"}, {"processor_internal_memory_gb": 8.0}),
    ({"processor_property_name": "cache"}, {"processor_property_name": "cache"}),
    ({"processor_property_value": "big"}, {"processor_property_value": "big"}),
    ({"memory_size": "1.5"}, {"memory_mib": 1536}),
    ({"memory_type": "SRAM"}, {"memory_type": "SRAM"}),
    ({"storage_size": 10}, {"storage_gb": 10.0}),
    ({"storage_type": "SSD"}, {"storage_type": "SSD"}),
    ({"storage_bw": "200"}, {"storage_bandwidth": 200}),
    ({"operating_system_type": "Linux"}, {"operating_system_type": "Linux"}),
    ({"operating_system_distribution": "Debian"}, {"operating_system_distribution": "Debian"}),
    ({"operating_system_version": "12"}, {"operating_system_version": "12"}),
    ({"app_software": "numpy, BLAS"}, {"software": ["numpy", "BLAS"]}),
    ({"host_queues": "a,b"}, {"host_queues": ["a", "b"]}),
    ({"wall_clock_limit": "10"}, {}),
    ({"memory_type": "[unassigned]"}, {}),
    ({"labels": ["lab"]}, {"labels": ["lab"]}),
    (
        {
            "processors": [
                {"processorType": "CPU", "computingUnits": "1"},
                {"ProcessorType": "GPU", "ComputingUnits": "$UNITS"},
            ]
        },
        {"computing_units": 1, "gpus": 4},
    ),
    (
        {"processors": [{"processor_type": "GPU", "computing_units": 2, "processor_name": "tesla", "speed": "1.5"}]},
        {
            "processors": [{"kind": "GPU", "units": 2, "name": "tesla", "speed_ghz": 1.5}],
            "computing_units": 1,
        },
    ),
]


@pytest.mark.filterwarnings("ignore:a constraint names the environment variable")
@pytest.mark.parametrize(("given", "meant"), KEYS)
def test_every_key_in_every_spelling(
    given: dict[str, Any], meant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it gives is what the engine's own type takes, and is there when the task is first asked for."""
    monkeypatch.setenv("UNITS", "4")
    found = dict(_above(**given).constraints)
    assert found == meant
    assert demand_of(msgspec.convert(found, Constraints))


def test_a_variable_that_is_not_set_is_warned_of() -> None:
    """The constraint is left out, and whoever runs the program is told which variable it was."""
    with pytest.warns(UserWarning, match="NO_SUCH_VARIABLE"):
        assert _above(computing_units="$NO_SUCH_VARIABLE").constraints == {}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("n", 2),
        ("2 * n", 4),
        ("FACTOR", 3),
        ("int(n / 2)", 1),
        ("len(blocks) + 1", 4),
        ("max(n, 5)", 5),
        ("n if n > 3 else 1", 1),
    ],
)
def test_units_worked_out_at_the_call(given: str, meant: int) -> None:
    """A parameter, a name of the module, or an expression, with the few functions that count things."""
    compute = _above(computing_units=given).constraints["computing_units"]
    assert compute({"n": 2, "blocks": [1, 2, 3]}) == meant


@pytest.mark.parametrize("given", ["nn", "n.__class__", "n / 0", "blocks", "-n"])
def test_what_gives_no_number_at_the_call_is_said(given: str) -> None:
    """The task is not submitted; the message has the text and the reason."""
    with pytest.raises(DefinitionError, match="computing_units"):
        _above(computing_units=given).constraints["computing_units"]({"n": 2, "blocks": [1]})


@pytest.mark.parametrize(
    "given",
    [
        "__import__('os')",
        "n.__class__",
        "(lambda: 1)()",
        "[x for x in n]",
        "open('f')",
        "n := 3",
        "2 +",
        "f'{n}'",
        "a" * 1001,
    ],
)
def test_expressions_cannot_do_anything_but_compute(given: str) -> None:
    """Nothing is imported, opened, assigned or reached by an underscore: refused where the function is decorated."""
    with pytest.raises(DefinitionError, match="computing_units"):
        _above(computing_units=given)


def test_an_expression_cannot_take_all_memory() -> None:
    """A power of a power is refused before it is worked out."""
    with pytest.raises(DefinitionError, match="too large"):
        _above(computing_units="9 ** 9 ** 9").constraints["computing_units"]({})


@pytest.mark.parametrize(
    "given",
    [
        {"computing_unit": 1},
        {"cpus": 1},
        {"computing_units": -1},
        {"computing_units": "1.5"},
        {"memory_size": "-1"},
        {"memory_size": "nan"},
        {"is_local": "perhaps"},
        {"processor_type": "QPU"},
        {"processors": [{"cores": 1}]},
        {"processors": "CPU"},
    ],
)
def test_wrong_constraints_are_refused(given: dict[str, Any]) -> None:
    """An unknown key, or a value that its key does not take, is an error where the function is decorated."""
    with pytest.raises(DefinitionError, match="constraint"):
        _above(**given)


def test_a_wrong_value_in_the_environment_is_refused_at_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs with a constraint that was not understood."""
    monkeypatch.setenv("UNITS", "many?")
    with pytest.raises(DefinitionError, match="computing_units"):
        _above(computing_units="$UNITS")


def test_constraints_of_several_decorators_add_up() -> None:
    """The upper one has the last word."""

    @constraint(computing_units=3)
    @constraint(computing_units=2, memory_size=1)
    @task(returns=1)
    def function() -> int:
        return 1

    definition = definition_of(function)
    assert definition is not None
    assert definition.constraints == {"computing_units": 3, "memory_mib": 1024}
    assert function() == 1


def test_an_io_task_needs_no_core() -> None:
    """Its demand is empty: any number of them fit beside what computes."""

    @IO()
    @task()
    def read() -> None:
        return None

    @IO
    @task()
    def write() -> None:
        return None

    for function in (read, write):
        definition = definition_of(function)
        assert definition is not None
        assert demand_of(Constraints(**definition.constraints)) == Capacity()
    with pytest.raises(DefinitionError, match="no arguments"):
        IO(1, 2)


def test_wishes_for_processors_are_looked_for_in_one_entry() -> None:
    """The engine takes each as an entry of its own kind, and drops what a hostile sender made of it."""
    wanted = WantedProcessor(kind="GPU", units=2, name="tesla", internal_memory_gb=16.0)
    asked = Constraints(computing_units=2, processor_property_name="cache", processors=(wanted,))
    assert demand_of(asked).processors == (
        Processor(units=2, property_name="cache"),
        Processor(units=2, kind=Kind.GPU, name="tesla", internal_memory_gb=16.0),
    )
    wrong = (WantedProcessor(kind="QPU"), WantedProcessor(units=-1), wanted)
    assert sound(Template("m:f", constraints=Constraints(processors=wrong))).constraints.processors == (wanted,)
