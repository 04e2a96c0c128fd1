"""Tasks on each host and on one after the other: when they end, and what becomes of them when a host goes."""

from __future__ import annotations

import pytest

from agentd.core.tasks.shapes import Shapes
from agentd.model.task import Constraints, Form, Outcome, Spread, Status, Template
from schedulers.capacity import Capacity, Kind, Processor
from tests.fakes.world import World
from tests.fakes.world_nested import Nest, Step
from tests.fakes.world_users import recorded

EACH, IN_TURN, PLAIN, NODES, WAYS = range(5)
GPU = Constraints(gpus=1)
TEMPLATES = [
    Template("m:each", Form.TASK, spread=Spread.EACH),
    Template("m:turn", Form.TASK, spread=Spread.IN_TURN),
    Template("m:plain", Form.TASK),
    Template("m:nodes", Form.TASK, nodes=3),
    Template("m:way", Form.TASK, alternatives=(Template("m:gpu_way", Form.TASK, constraints=GPU),)),
]
ROOT = Template("m:root", durable=True, constraints=Constraints(is_local=True))


class Net:
    """An operation on an agent of two cores with two neighbours; what ran is told by name, agent and function."""

    def __init__(self, *steps: Step, own: Capacity | int = 2) -> None:
        self.world = World()
        self.ran: list[tuple[str, str, str]] = []
        for name, capacity in (("a", own), ("b", 1), ("c", 1)):
            host = self.world.add(name, capacity)
            host.nested = TEMPLATES
            self._note(host)
        for name in "bc":
            self.world.connect("a", name, is_mutual=False)
        self.world.run(3.0)
        self.number = 0
        program = Nest("root", 0.0, steps).write().data.decode()
        self.world.hosts["a"].submit(ROOT, program, self._answered)

    def _note(self, host: object) -> None:
        started = host.started  # type: ignore[attr-defined]

        def note(process: object, task: object) -> None:
            data = task.payload.data.decode()  # type: ignore[attr-defined]
            name = data.split('"name":"')[1].split('"')[0]
            self.ran.append((name, host.name, task.shape.template.function))  # type: ignore[attr-defined]
            started(process, task)

        host.started = note  # type: ignore[attr-defined]

    def _answered(self, value: object) -> None:
        assert isinstance(value, tuple)
        self.number = value[0]

    def end(self) -> Outcome:
        """Let it end; nothing of it may be left anywhere."""
        self.world.run(0.5)
        assert self.world.run_until(lambda: recorded(self.world.hosts["a"], self.number) is not None, 60.0, 0.1)
        self.world.heal()
        assert self.world.run_until(lambda: self.world.is_quiet, 60.0, 0.1)
        outcome = recorded(self.world.hosts["a"], self.number)
        assert outcome is not None
        return outcome

    def where(self, name: str) -> list[str]:
        """Name the agents on which a task ran, in order."""
        return [agent for one, agent, _ in self.ran if one == name]


def task(name: str, template: int, seconds: float = 0.1, raises: str = "") -> Nest:
    """Make a child."""
    return Nest(name, seconds, (), raises, template)


def test_what_needs_a_replicated_task_waits_for_all_of_its_runs() -> None:
    """One run on each host; only then the next; and the value is there once."""
    net = Net(Step(task("each", EACH), makes=(0,)), Step(task("next", PLAIN), reads=(0,), makes=(1,)), Step(waits=(1,)))
    assert net.end().status == Status.DONE
    assert sorted(net.where("each")) == ["a", "b", "c"]
    assert [name for name, _, _ in net.ran][-1] == "next"
    assert net.world.history.close() == []


def test_a_barrier_counts_every_run() -> None:
    """Also runs that came to be while the program waited already."""
    net = Net(
        Step(task("slow", PLAIN, 1.0), makes=(0,)),
        Step(task("each", EACH, 1.0), after=(0,)),
        Step(barrier=0),
        Step(task("last", PLAIN)),
    )
    assert net.end().status == Status.DONE
    assert sorted(net.where("each")) == ["a", "b", "c"]
    assert net.ran[-1][0] == "last"


def test_a_run_that_fails_fails_the_task() -> None:
    """Its value never comes to be, though another run of it was good."""
    net = Net(Step(task("each", EACH, 0.1, "raise"), makes=(0,)), Step(task("next", PLAIN), reads=(0,)))
    outcome = net.end()
    assert outcome.status == Status.FAILED
    assert net.where("next") == []


@pytest.mark.parametrize("name", ["b", "c"])
def test_a_run_on_a_host_that_is_gone_is_not_waited_for(name: str) -> None:
    """The task ends by the runs that there are."""
    net = Net(Step(task("each", EACH, 2.0), makes=(0,)), Step(task("next", PLAIN), reads=(0,)), Step(barrier=0))
    net.world.run(1.0)
    net.world.hosts[name].crash()
    assert net.end().status == Status.DONE
    assert sorted({*net.where("each")}) == ["a", "b", "c"]
    assert len(net.where("next")) == 1


def test_a_cancelled_group_takes_all_runs_along() -> None:
    """Nothing of them is left, here or at the neighbours."""
    net = Net(
        Step(task("each", EACH, 30.0), makes=(0,), groups=(1,)),
        Step(task("short", PLAIN, 1.0), makes=(1,)),
        Step(waits=(1,)),
        Step(cancels=1),
        Step(barrier=0),
    )
    assert net.end().status == Status.DONE
    assert net.world.hosts["a"].world.now < 30.0


def test_distributed_tasks_take_turns() -> None:
    """Host after host, in the order in which they became ready."""
    net = Net(*[Step(task(f"t{n}", IN_TURN)) for n in range(6)], Step(barrier=0))
    assert net.end().status == Status.DONE
    assert [net.where(f"t{n}") for n in range(6)] == [["a"], ["b"], ["c"]] * 2


def test_a_distributed_task_goes_elsewhere_when_its_host_is_gone() -> None:
    """It is its turn's host that is gone, not the task."""
    net = Net(*[Step(task(f"t{n}", IN_TURN, 2.0)) for n in range(6)], Step(barrier=0))
    net.world.run(1.0)
    net.world.hosts["b"].crash()
    assert net.end().status == Status.DONE
    assert {net.where(f"t{n}")[-1] for n in (1, 4)} <= {"a", "c"}


def test_nodes_are_cores_of_one_host_held_together() -> None:
    """A host with as many cores runs it alone."""
    net = Net(Step(task("wide", NODES)), Step(task("beside", PLAIN)), Step(barrier=0), own=4)
    assert net.end().status == Status.DONE
    assert net.where("wide") == ["a"]


def test_each_way_goes_where_there_is_room_for_it() -> None:
    """The special one first; the others do it plainly while it is busy; a task that is tried again may do it so too."""
    own = Capacity(processors=(Processor(units=2), Processor(kind=Kind.GPU, units=1)))
    net = Net(*[Step(task(f"t{n}", WAYS, 1.0)) for n in range(4)], Step(barrier=0), own=own)
    assert net.end().status == Status.DONE
    assert {(agent, function) for name, agent, function in net.ran if name != "root"} == {
        ("a", "m:gpu_way"),
        ("a", "m:way"),
        ("b", "m:way"),
        ("c", "m:way"),
    }


def test_ways_are_ordered_by_what_they_need_then_by_what_they_take() -> None:
    """Accelerators, names, cores; of equal ones the quicker, once each was tried."""
    from agentd.core.tasks.estimates import learn

    ways = (
        Template("m:slow", Form.TASK),
        Template("m:many", Form.TASK, constraints=Constraints(computing_units=4)),
        Template("m:named", Form.TASK, constraints=Constraints(software=("X",))),
        Template("m:gpu", Form.TASK, constraints=GPU),
    )
    shape = Shapes().intern(Template("m:quick", Form.TASK, alternatives=ways))
    assert [way.template.function for way in shape.ways][:3] == ["m:gpu", "m:named", "m:many"]
    by_name = {way.template.function: way for way in shape.ways}
    for name, seconds in (("m:slow", 2.0), ("m:quick", 1.0)):
        learn(by_name[name], seconds, 0)
    assert [way.template.function for way in shape.ways][3:] == ["m:quick", "m:slow"]
    assert shape.estimate_s == pytest.approx(1.8)


def test_hostile_templates_are_brought_into_bounds() -> None:
    """Nodes without end, alternatives of what is no task, alternatives of alternatives."""
    deep = Template("m:a", Form.TASK, alternatives=(Template("m:b", Form.TASK, alternatives=(Template("m:c"),)),))
    shape = Shapes().intern(deep)
    assert [way.template.function for way in shape.ways] == ["m:a", "m:b"]
    assert all(not way.template.alternatives for way in shape.ways)
    assert not Shapes().intern(Template("m:a", alternatives=(Template("m:b", Form.TASK),))).ways
    assert Shapes().intern(Template("m:a", Form.TASK, nodes=10**12)).demand.units() <= 4096
