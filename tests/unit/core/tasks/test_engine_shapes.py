"""Templates as the engine keeps them: each once, bounded in number and in figures, with what was learned of them."""

from __future__ import annotations

import pytest

from agentd.core.tasks.demands import ATTEMPTS_MOST, demand_of, sound
from agentd.core.tasks.estimates import learn
from agentd.core.tasks.shapes import CODE_MOST_BYTES, SHAPES_MOST, Shapes
from agentd.model.task import Constraints, Form, Template
from schedulers.capacity import Kind


def test_equal_templates_are_one_shape() -> None:
    """So that what is alike is looked at once."""
    shapes = Shapes()
    assert shapes.intern(Template("m:f")) is shapes.intern(Template("m:f"))
    assert shapes.intern(Template("m:f")) is not shapes.intern(Template("m:f", priority=1))


def test_equal_demands_are_one_object() -> None:
    """Answers about them are remembered by identity."""
    shapes = Shapes()
    assert shapes.intern(Template("m:f")).demand is shapes.intern(Template("m:g")).demand


def test_a_variant_starts_from_what_is_known_of_its_function() -> None:
    """But other code under the same name is another function."""
    shapes = Shapes()
    learn(shapes.intern(Template("m:f")), 2.0, 100)
    assert shapes.intern(Template("m:f", priority=1)).estimate_s == 2.0
    assert shapes.intern(Template("m:f", form=Form.VALUE, code=b"other")).estimate_s is None


def test_templates_are_forgotten_when_there_are_many() -> None:
    """Functions by value come and go; those in use stay, and numbers are never used twice."""
    shapes = Shapes()
    used = shapes.intern(Template("m:used"))
    numbers = set()
    for number in range(2 * SHAPES_MOST):
        numbers.add(shapes.intern(Template(f"m:f{number}", constraints=Constraints(memory_mib=number))).number)
        assert shapes.intern(Template("m:used")) is used
    assert len(shapes) <= SHAPES_MOST
    assert len(numbers) == 2 * SHAPES_MOST
    assert len(shapes._demands) <= SHAPES_MOST + 1
    assert len(shapes._kin) <= SHAPES_MOST


def test_code_is_forgotten_when_it_is_much() -> None:
    """A gigabyte of lambdas does not stay."""
    shapes = Shapes()
    code = b"x" * (CODE_MOST_BYTES // 4)
    for number in range(10):
        shapes.intern(Template("m:f", form=Form.VALUE, code=code + bytes([number])))
    assert shapes._code_bytes <= CODE_MOST_BYTES


def test_the_mean_moves_slowly() -> None:
    """One slow run changes little."""
    shape = Shapes().intern(Template("m:f"))
    learn(shape, 1.0, 10)
    learn(shape, 2.0, 20)
    assert shape.estimate_s == pytest.approx(1.2)
    assert shape.result_bytes == pytest.approx(12)
    assert shape.runs == 2


def test_constraints_become_a_demand() -> None:
    """In the words of the field."""
    demand = demand_of(
        Constraints(
            computing_units=2,
            gpus=1,
            fpgas=3,
            others=4,
            memory_mib=5,
            software=("numpy",),
            host_queues=("short",),
            labels=("x",),
        )
    )
    assert [(one.kind, one.units) for one in demand.processors] == [
        (Kind.CPU, 2),
        (Kind.GPU, 1),
        (Kind.FPGA, 3),
        (Kind.OTHER, 4),
    ]
    assert (demand.memory_mib, demand.software, demand.queues) == (5, {"NUMPY"}, {"SHORT"})


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf"), 1e30])
def test_no_time_out_stops_the_clock(limit: float) -> None:
    """Whatever is sent, timers can be compared."""
    kept = sound(Template("m:f", timeout_s=limit)).timeout_s
    assert kept is None or 0 < kept < 1


def test_no_figure_makes_the_pool_larger() -> None:
    """A negative demand is none."""
    asked = Constraints(computing_units=-5, gpus=-1, memory_mib=-100, storage_gb=float("nan"))
    kept = sound(Template("m:f", constraints=asked, max_attempts=-3))
    demand = demand_of(kept.constraints)
    assert [(one.kind, one.units) for one in demand.processors] == [(Kind.CPU, 1)]
    assert (demand.memory_mib, demand.storage_gb, kept.max_attempts) == (0, 0, 1)
    assert sound(Template("m:f", max_attempts=10**9)).max_attempts == ATTEMPTS_MOST


def test_what_is_sound_stays_as_it_is() -> None:
    """The same object."""
    template = Template("m:f", timeout_s=3.0, constraints=Constraints(memory_mib=5))
    assert sound(template) is template
