"""Tasks of several nodes over several hosts: what is held before they start, for how long, and who gets it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentd.core.events import DrainRequested
from agentd.core.families.blames import BLAMES
from agentd.core.state import Rules
from agentd.core.tasks.task import State, Task
from agentd.model.task import Constraints, Form, Outcome, Reason, Status, Template
from tests.fakes.world import World
from tests.fakes.world_nested import Nest, Step, sequential
from tests.fakes.world_trouble import bring
from tests.fakes.world_users import recorded
from tests.fakes.world_workers import KILLED

if TYPE_CHECKING:
    from tests.fakes.world_agent import Host

PLAIN, TWO, THREE, PAIRS, ONCE, TIMED, FIVE, OWN = range(8)
TEMPLATES = [
    Template("m:plain", Form.TASK, max_attempts=1000),
    Template("m:two", Form.TASK, nodes=2, max_attempts=1000),
    Template("m:three", Form.TASK, nodes=3, max_attempts=1000),
    Template("m:pairs", Form.TASK, nodes=2, constraints=Constraints(computing_units=2), max_attempts=1000),
    Template("m:once", Form.TASK, nodes=2, idempotent=False),
    Template("m:timed", Form.TASK, nodes=2, timeout_s=1.0),
    Template("m:five", Form.TASK, nodes=5),
    Template("m:own", Form.TASK, constraints=Constraints(is_local=True)),
]
ROOT = Template("m:root", durable=True, max_attempts=1000, constraints=Constraints(is_local=True))
FREE = Template("m:root", durable=True, max_attempts=1000)


class Net:
    """Agents that all know each other; where main parts began is noted, and whether all was held for them."""

    def __init__(
        self,
        cores: dict[str, int],
        seed: int | None = None,
        scheduler: str = "load-balancing",
        spares: int | None = None,
    ) -> None:
        self.world = World(seed)
        self.begun: list[tuple[str, str, tuple[str, ...]]] = []
        """Name of the task, its agent, and the hosts of its nodes."""
        self.numbers: list[tuple[str, int, Nest]] = []
        for name, units in cores.items():
            host = self.world.add(name, units, scheduler=scheduler, rules=Rules(orphan_ttl_s=15.0, spares=spares))
            host.nested = TEMPLATES
            self._note(host)
        names = list(cores)
        for index, one in enumerate(names):
            for other in names[:index]:
                self.world.connect(other, one)
        self.world.run(3.0)

    def _note(self, host: Host) -> None:
        started = host.started

        def note(process: object, task: Task) -> None:
            hosts = task.shape.template.hosts
            name = task.payload.data.decode().split('"name":"')[1].split('"')[0]
            self.begun.append((name, host.name, hosts))
            if not self.world.history.has_faults:
                for other in set(hosts) - {host.name}:
                    wanted = hosts.count(other) * task.demand.units() // max(hosts.count(host.name), 1)
                    if wanted not in self.held(other):
                        self.world.history.broken(f"{name} runs, and {other} does not hold {wanted} cores for it")
            started(process, task)  # type: ignore[arg-type]

        host.started = note  # type: ignore[method-assign, assignment]

    def held(self, name: str) -> list[int]:
        """Say what an agent holds for tasks elsewhere, in cores."""
        tasks = self.world.hosts[name].engine.state.tasks.values()
        return [task.demand.units() for task in tasks if task.state is State.HOLDING]

    def ask(self, *steps: Step, at: str = "a", root: Template = ROOT) -> None:
        """Submit a program."""
        nest, host = Nest("root", 0.0, steps), self.world.hosts[at]

        def answered(value: object) -> None:
            assert isinstance(value, tuple)
            self.numbers.append((at, value[0], nest))

        host.submit(root, nest.write().data.decode(), answered)

    def end(self, patience_s: float = 600.0) -> list[Outcome]:
        """Let all end; nothing of it may be left anywhere."""
        self.world.run(0.5)
        assert self.world.run_until(lambda: self.world.is_quiet, patience_s, 0.1), "it does not end"
        self.world.heal()
        self.world.run(20.0)
        assert self.world.history.close() == []
        found = [recorded(self.world.hosts[at], number) for at, number, _ in self.numbers]
        return [one for one in found if one is not None]

    def hosts_of(self, name: str) -> list[tuple[str, ...]]:
        """Say on which hosts a task had its nodes, each time that it began."""
        return [hosts for one, _, hosts in self.begun if one == name]


def task(name: str, template: int, seconds: float = 0.5, steps: tuple[Step, ...] = (), raises: str = "") -> Nest:
    """Make a child."""
    return Nest(name, seconds, steps, raises, template)


@pytest.mark.parametrize("scheduler", ["load-balancing", "fifo", "lifo", "data"])
def test_nodes_are_held_on_several_hosts_before_the_task_starts(scheduler: str) -> None:
    """The agent's own first; what it does not need goes on with other work; afterwards all is free."""
    net = Net({"a": 1, "b": 1, "c": 1}, scheduler=scheduler)
    net.ask(Step(task("wide", TWO)), Step(task("beside", PLAIN)), Step(barrier=0))
    assert [one.status for one in net.end()] == [Status.DONE]
    (hosts,) = net.hosts_of("wide")
    assert len(set(hosts)) == 2
    assert hosts[0] == "a"


def test_hosts_that_are_idle_are_chosen() -> None:
    """One that is busy is not waited for where another will do."""
    net = Net({"a": 1, "b": 1, "c": 1})
    net.ask(Step(task("busy", OWN, 100.0)), Step(barrier=0), at="b")
    net.world.run(1.0)
    net.ask(Step(task("wide", TWO)), Step(barrier=0))
    net.world.run(10.0)
    assert net.hosts_of("wide") == [("a", "c")]
    net.end()


def test_a_host_gives_several_nodes_where_it_can() -> None:
    """Each of what was asked for it; the host is named once for each."""
    net = Net({"a": 1, "b": 2})
    net.ask(Step(task("wide", THREE)), Step(barrier=0))
    assert net.end()[0].status == Status.DONE
    assert net.hosts_of("wide") == [("a", "b", "b")]
    other = Net({"a": 3, "b": 2})
    other.ask(Step(task("wide", PAIRS)), Step(barrier=0))
    assert other.end()[0].status == Status.DONE
    assert other.hosts_of("wide") == [("a", "b")]


def test_nodes_that_the_hosts_have_not_fail_the_task_at_once() -> None:
    """Before it waits for anybody; the program is told who has what."""
    net = Net({"a": 1, "b": 1, "c": 2})
    net.ask(Step(task("wide", FIVE), makes=(0,)))
    (outcome,) = net.end()
    assert outcome.failure is not None
    assert outcome.failure.reason == Reason.UNSCHEDULABLE
    assert "wants 5 nodes of 1 core at once, one of them on a" in outcome.failure.message
    assert "a: 1; b: 1; c: 2" in outcome.failure.message


def test_two_of_them_on_two_hosts_do_not_wait_for_each_other() -> None:
    """Each takes its hosts in the same order; so they run one after the other, and none has to give back."""
    net = Net({"a": 1, "b": 1})
    for at in "ab":
        net.ask(*[Step(task(f"{at}{n}", TWO, 0.2)) for n in range(4)], Step(barrier=0), at=at)
    assert [one.status for one in net.end(30.0)] == [Status.DONE] * 2
    assert len([name for name, _, hosts in net.begun if hosts]) == 8


def test_what_waits_on_cores_that_are_busy_gives_others_back() -> None:
    """Cores are not kept idle for ever by a task that waits for a neighbour with long work; it gets them in the end."""
    net = Net({"a": 1, "b": 1})
    net.ask(Step(task("long", OWN, 30.0)), Step(task("long", OWN, 30.0)), Step(barrier=0), at="b")
    net.world.run(1.0)
    net.ask(Step(task("wide", TWO, 0.2)), Step(barrier=0))
    net.world.run(1.5)
    net.ask(Step(task("short", OWN, 0.1)), Step(barrier=0))
    net.world.run(20.0)
    assert [name for name, _, _ in net.begun].count("short") == 1, "it had a core while the other one rested"
    assert [one.status for one in net.end()] == [Status.DONE] * 3


@pytest.mark.parametrize("how", ["crash", "drain", "cut"])
def test_the_loss_of_a_host_ends_the_attempt_and_it_is_tried_again(how: str) -> None:
    """On the hosts that are left; the one that is cut off holds nothing when its lease is over."""
    net = Net({"a": 1, "b": 1, "c": 1})
    net.world.history.has_faults = True
    net.ask(Step(task("wide", TWO, 20.0), makes=(0,)), Step(waits=(0,)))
    net.world.run(3.0)
    (first,) = net.hosts_of("wide")
    lost = net.world.hosts[first[1]]
    if how == "crash":
        lost.crash()
    elif how == "drain":
        lost.post(DrainRequested(1.0))
    else:
        net.world.wire("a", lost.name).cut()
    net.world.run(15.0)
    assert how == "drain" or net.hosts_of("wide")[1:] == [("a", ({"b", "c"} - {first[1]}).pop())]
    assert how != "cut" or net.held(lost.name) == []
    lost.heal()
    (outcome,) = net.end()
    assert outcome.status == Status.DONE
    assert outcome.value.data.decode() == sequential(net.numbers[0][2], [], 1)[0]


def test_one_that_may_run_only_once_is_not_tried_again() -> None:
    """What became of it is not known when it loses a host."""
    net = Net({"a": 1, "b": 1})
    net.world.history.has_faults = True
    net.ask(Step(task("wide", ONCE, 20.0), makes=(0,)), Step(waits=(0,)))
    net.world.run(3.0)
    net.world.hosts["b"].crash()
    net.world.run(15.0)
    net.world.hosts["b"].heal()
    (outcome,) = net.end()
    assert outcome.failure is not None
    assert "a node of it on b was lost" in outcome.failure.message
    assert len(net.hosts_of("wide")) == 1


@pytest.mark.parametrize("after_s", [0.001, 0.02, 1.0])
def test_one_that_is_cancelled_gives_all_back(after_s: float) -> None:
    """While it gathers, and while it runs."""
    net = Net({"a": 1, "b": 1})
    for _ in range(2):
        net.ask(Step(task("wide", TWO, 300.0)), Step(barrier=0))
    net.world.run(after_s)
    assert net.world.run_until(lambda: len(net.numbers) == 2, 5.0, 0.001)
    for at, number, _ in net.numbers:
        net.world.hosts[at].cancel(number, lambda _: None)
    assert {one.status for one in net.end(30.0)} == {Status.CANCELLED}


def test_its_time_and_its_failure_end_it() -> None:
    """As those of any task; nothing stays held."""
    net = Net({"a": 1, "b": 1})
    net.ask(Step(task("timed", TIMED, 30.0), makes=(0,)), Step(waits=(0,)))
    net.ask(Step(task("bad", TWO, 0.1, (), "raise"), makes=(0,)), Step(waits=(0,)))
    assert [one.status for one in net.end(60.0)] == [Status.FAILED] * 2


def test_a_worker_that_dies_under_it_lets_it_gather_anew() -> None:
    """Another attempt, with its hosts held for it again."""
    net = Net({"a": 1, "b": 1})
    net.ask(Step(task("wide", TWO, 2.0), makes=(0,)), Step(waits=(0,)))
    net.world.run(1.5)
    (process,) = [one for one in net.world.hosts["a"].processes.values() if one.running is not None]
    process.die(KILLED)
    assert net.end()[0].status == Status.DONE
    assert net.hosts_of("wide") == [("a", "b")] * 2


def test_it_may_ask_for_tasks_itself() -> None:
    """It waits for them without its own cores, and with those of the others held; that ends well."""
    net = Net({"a": 1, "b": 1})
    inner = (Step(task("inner", PLAIN, 0.1), makes=(0,)), Step(waits=(0,)))
    net.ask(Step(task("wide", TWO, 0.1, inner), makes=(0,)), Step(waits=(0,)))
    net.ask(Step(task("other", TWO, 0.1, inner), makes=(0,)), Step(waits=(0,)), at="b")
    assert [one.status for one in net.end()] == [Status.DONE] * 2


def test_programs_that_went_to_each_others_agents_do_not_stand_in_the_way() -> None:
    """They wait there for tasks over both agents; that they were given there takes nothing from what can be held."""
    net = Net({"a": 1, "b": 2})
    for _ in range(4):
        for at in "ab":
            net.ask(*[Step(task("wide", THREE, 0.05)) for _ in range(2)], Step(barrier=0), at=at, root=FREE)
    assert [one.status for one in net.end(100.0)] == [Status.DONE] * 8
    assert len({agent for name, agent, _ in net.begun if name == "wide"}) == 2


@pytest.mark.parametrize("spares", [0, 1, None])
def test_cores_are_held_and_main_parts_run_where_every_worker_waits(spares: int | None) -> None:
    """Holding takes no worker; a main part for which none is left runs on top of the program that waits for it."""
    net = Net({"a": 1, "b": 1}, spares=spares)
    for _ in range(6):
        for at in "ab":
            net.ask(Step(task("wide", TWO, 0.05), makes=(0,)), Step(waits=(0,)), at=at)
    assert [one.status for one in net.end(100.0)] == [Status.DONE] * 12


children = st.builds(
    task,
    st.sampled_from("pqrs"),
    st.sampled_from((PLAIN, TWO, TWO, THREE, PAIRS)),
    st.sampled_from((0.001, 0.1, 1.0)),
)
programs = st.lists(children, min_size=1, max_size=4)
TROUBLE = ("kill a", "kill b", "crash c", "crash b", "drain c", "cut a b", "cut b c", "reset a", "reset b")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    asked=st.lists(st.tuples(st.sampled_from("abc"), programs), min_size=1, max_size=3),
    cores=st.tuples(*[st.integers(1, 2)] * 3),
    seed=st.integers(0, 1 << 30),
    trouble=st.lists(st.tuples(st.floats(0.0, 2.0), st.sampled_from(TROUBLE)), max_size=4),
    scheduler=st.sampled_from(("load-balancing", "fifo", "lifo")),
    spares=st.sampled_from((None, None, 0, 1)),
)
@example(  # an agent took two for a neighbour that seemed to have two cores, and only one of them was refused there
    asked=[("a", [task("p", PLAIN, 0.001)]), ("a", [task("p", PLAIN, 1.0), *[task("p", TWO, 0.001)] * 2])],
    cores=(1, 1, 1),
    seed=26,
    trouble=[(0.0, "drain c")],
    scheduler="load-balancing",
    spares=None,
)
@example(  # a neighbour seemed to have two cores when two times two were asked for, and never had them
    asked=[
        ("a", [task("p", PLAIN, 0.001), task("r", THREE, 0.001)]),
        ("a", [task("p", TWO, 0.1), task("q", PAIRS, 0.001)]),
        ("a", [task("q", PLAIN, 1.0), task("r", PAIRS, 0.001), task("p", PLAIN, 0.1), task("p", PLAIN, 0.001)]),
    ],
    cores=(1, 1, 1),
    seed=50963,
    trouble=[(0.0, "reset a"), (1.1677553147464887, "kill a"), (0.05, "kill b"), (0.007223193214064507, "kill b")],
    scheduler="load-balancing",
    spares=None,
)
@example(  # it was stopped before it started as a host was lost, and given anew to the worker that had been told so
    asked=[("a", [task("p", THREE, 0.001)]), ("c", [task("p", PLAIN, 0.001)]), ("c", [task("p", PLAIN, 0.001)])],
    cores=(1, 1, 2),
    seed=3690,
    trouble=[(0.125, "crash b")],
    scheduler="load-balancing",
    spares=None,
)
@example(  # each of three kills hit the same child
    asked=[
        ("a", [task("p", THREE, 1.0), task("p", PLAIN, 0.001)]),
        ("b", [task("p", PLAIN, 0.001), task("p", THREE, 1.0), task("p", THREE, 0.001)]),
        ("a", [task("p", PLAIN, 0.001)]),
    ],
    cores=(1, 1, 2),
    seed=17755,
    trouble=[(0.3515625, "kill b"), (0.5, "kill b"), (2.0, "kill b")],
    scheduler="fifo",
    spares=None,
)
@example(  # its next attempt was handed on under the number of the last, and who had had that told how it had ended
    asked=[("c", [task("p", PLAIN, 0.001), task("p", PLAIN, 0.001), task("p", TWO, 1.0), task("p", PLAIN, 0.001)])],
    cores=(1, 2, 1),
    seed=0,
    trouble=[(0.5, "kill b")],
    scheduler="lifo",
    spares=None,
)
@example(  # a task and what holds nodes for it have one age: the newest first were not to be told
    asked=[("c", [task("p", PLAIN, 0.001)]), ("c", [task("p", THREE, 0.001)])],
    cores=(1, 1, 1),
    seed=0,
    trouble=[],
    scheduler="lifo",
    spares=0,
)
def test_whatever_fails_they_all_end_and_nothing_stays_held(
    asked: list[tuple[str, list[Nest]]],
    cores: tuple[int, int, int],
    seed: int,
    trouble: list[tuple[float, str]],
    scheduler: str,
    spares: int | None,
) -> None:
    """No core is given twice, no two wait for each other for ever, each program has the values of a sequential run."""
    if scheduler == "fifo":  # whose head nobody overtakes: also not while no worker is left for it
        spares = None
    net = Net(dict(zip("abc", (2, *cores[1:]), strict=True)), seed, scheduler, spares)
    net.world.history.has_faults = bool(trouble)
    for at, nests in asked:
        steps = [Step(nest, makes=(n,)) for n, nest in enumerate(nests) if not (at != "a" and nest.template == PAIRS)]
        net.ask(*steps, Step(waits=tuple(step.makes[0] for step in steps)), at=at)
    for after_s, what in trouble:
        net.world.run(after_s)
        bring(net.world, what, grace_s=2.0)
    outcomes = net.end(3000.0)
    is_blamed = sum(what.startswith("kill") for _, what in trouble) >= BLAMES
    for (_, _, nest), outcome in zip(net.numbers, outcomes, strict=True):
        if outcome.status == Status.QUARANTINED:
            assert is_blamed
        elif outcome.status != Status.DONE:
            assert outcome.failure is not None
            words = outcome.failure.message  # of a child that was blamed its program is told
            assert "nodes of" in words or (is_blamed and "signal 9" in words), outcome.failure
        else:
            assert [outcome.value.data.decode()] == sequential(nest, [], 1)
