"""Laws of tasks that stand in a line behind those which make what they read."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.core.commands import Command, RunTasks
from agentd.core.state import Rules
from agentd.core.tasks.task import State, Task
from agentd.model.task import Form, Outcome, Status, Template
from agentd.model.values import Kept
from tests.fakes.world import World
from tests.fakes.world_agent import Host
from tests.fakes.world_nested import Nest, Step, read, sequential
from tests.fakes.world_users import recorded
from tests.fakes.world_workers import KILLED, Process

FAILS = Template("m:nested", Form.TASK, max_attempts=1000, on_failure="FAIL")
AGAIN = Template("m:again", Form.TASK, max_attempts=1000)
ONCE = Template("m:nested", Form.TASK, on_failure="FAIL", max_attempts=1)
CANCELS = Template("m:cancels", Form.TASK, max_attempts=1000, on_failure="CANCEL_SUCCESSORS")
ROOT = Template("m:root", durable=True, max_attempts=1000)
LONG_S = 3000.0
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def chains(draw: st.DrawFn, *, may_fail: bool = False) -> Nest:
    """Draw a program in which most tasks read what the one before makes; the first ones teach how long they take."""
    steps = [Step(Nest("first", 0.0001, template=number), makes=(number,)) for number in range(3)]
    steps.append(Step(waits=(0, 1, 2)))
    for number in range(3, draw(st.integers(8, 40))):
        last = draw(st.sampled_from(((number - 1,), (number - 1,), (number - 1, number - 2), (number - 2,), ())))
        bad = draw(st.integers(0, 9)) == 0 and may_fail
        inner = (Step(Nest("inner", 0.0002), makes=(len(last),)), Step(waits=(len(last),)))
        child = Nest(
            f"t{number}",
            draw(st.sampled_from((0.0001, 0.0001, 0.0003, 0.002))),
            inner if draw(st.integers(0, 11)) == 0 else (),
            "raise" if bad else "",
            draw(st.integers(0, 2)),
        )
        groups = (1,) if draw(st.integers(0, 5)) == 0 else ()
        steps.append(Step(child, last, (number,), groups=groups, chain=draw(st.sampled_from((0, 0, 0, 1)))))
        if draw(st.integers(0, 14)) == 0 and not may_fail:
            steps.append(Step(waits=(draw(st.integers(0, number)),)))
        if draw(st.integers(0, 14)) == 0 and may_fail:
            steps.append(Step(cancels=1))
    steps.append(Step(barrier=0) if may_fail else Step(waits=(number,)))
    return Nest("root", 0.0, tuple(steps))


def prepared(seed: int | None, cores: int) -> tuple[World, Host]:
    """Make a world of one agent."""
    world = World(seed)
    host = world.add("a", cores, rules=Rules(spares=2))
    host.nested = [FAILS, AGAIN, CANCELS]
    return world, host


def run(world: World, host: Host, program: Nest, kills: list[float]) -> Outcome:
    """Run a program, and look whether anything is left of it.

    So long after something stands behind what it reads, a worker is killed, as often as there are times.
    """
    found: list[Outcome] = []

    def answered(value: object) -> None:
        assert isinstance(value, tuple)
        host.watch(value[0], lambda _: found.append(recorded(host, value[0])))

    host.submit(ROOT, program.write().data.decode(), answered)
    for after in kills:
        if not world.run_until(lambda: any(map(lacking, host.processes.values())), 2.0, 0.0002):
            break
        world.run(after)
        if host.processes:
            chosen = [one for one in host.processes.values() if lacking(one)] or list(host.processes.values())
            world.random.choice(chosen).die(KILLED)
        look(host)
    assert world.run_until(lambda: world.is_quiet, LONG_S, 0.5), "it does not end"
    world.run(1.0)
    assert world.history.close() == []
    return found[-1]


def lacking(process: Process) -> bool:
    """Tell whether something stands in a worker's line and lacks what it reads."""
    return any(task.lacks for task in process.line)


def look(host: Host) -> None:
    """Check the law on the lines as they stand."""
    for line in host.engine.state.crew.lines.values():
        before: set[int] = set()
        for task in line.tasks:
            standing = {value.task for value in task.inputs if isinstance(value, Kept)}
            if task.lacks and task.state is State.ASSIGNED:
                alive = {number for number in standing if number in host.engine.state.tasks}
                assert alive <= before, f"task {task.id} stands without those that make what it reads"
            before.add(task.id)


kills = st.lists(st.sampled_from((0.0, 0.0001, 0.0003, 0.0006, 0.002)), max_size=2)  # with three a task is blamed


@slow
@given(program=chains(), cores=st.integers(1, 3), seed=st.none() | st.integers(0, 1 << 30), dying=kills)
def test_a_chain_gives_what_its_sequential_run_gives(
    program: Nest, cores: int, seed: int | None, dying: list[float]
) -> None:
    """Wherever its tasks stand, and whichever workers die meanwhile, every task sees the values of its program."""
    world, host = prepared(seed, cores)
    world.history.has_faults = True
    outcome = run(world, host, program, dying)
    assert outcome.status == Status.DONE, outcome.failure
    assert [outcome.value.data.decode()] == sequential(program, [], 1)


@slow
@given(program=chains(may_fail=True), cores=st.integers(1, 3), seed=st.none() | st.integers(0, 1 << 30), dying=kills)
def test_nothing_runs_that_reads_what_failed(program: Nest, cores: int, seed: int | None, dying: list[float]) -> None:
    """What stands behind a task that fails never starts; what reads nothing of it ends well, and nothing is kept."""
    world, host = prepared(seed, cores)
    host.nested = [ONCE, AGAIN, CANCELS]
    world.history.has_faults = True
    run(world, host, program, dying)
    begun = {name(task) for task in world.history.begun}
    for step in program.steps:
        if step.task is not None and bad(program, step):
            assert step.task.name not in begun


def bad(program: Nest, step: Step) -> bool:
    """Tell whether a task reads, directly or not, what a task does not make that fails."""
    makers = {one.makes[0]: one for one in program.steps if one.task is not None}
    sources = [makers[number] for number in step.reads]
    return any((one.task is not None and bool(one.task.raises)) or bad(program, one) for one in sources)


def name(task: Task) -> str:
    """Give the name of the program that a task runs."""
    found = read(task.payload)
    return found.name if found is not None else ""


def test_a_chain_is_handed_out_ahead_of_what_it_reads() -> None:
    """The tasks of a chain stand in one line: their worker has them before what they read is made."""
    world, host = prepared(None, 2)
    steps = [Step(Nest("wide", 0.3), makes=(number,)) for number in (1, 2)]  # so that a worker is idle later
    steps += [Step(waits=(1, 2)), Step(Nest("first", 0.0001), makes=(0,)), Step(waits=(0,))]
    steps += [Step(Nest(f"t{number}", 0.0001, template=1), makes=(number,)) for number in (3, 4)]
    steps += [Step(waits=(3, 4))]
    steps += [Step(Nest(f"t{number}", 0.0001, template=1), (number - 1,), (number,)) for number in range(5, 105)]
    program = Nest("root", 0.0, (*steps, Step(waits=(104,))))
    sent: list[int] = []

    def watch(_: Host, commands: list[Command]) -> None:
        runs = [one for one in commands if isinstance(one, RunTasks)]
        sent.extend(sum(task.lacks for task in one.tasks) for one in runs)

    world.history.watchers.append(watch)
    outcome = run(world, host, program, [])
    assert [outcome.value.data.decode()] == sequential(program, [], 1)
    assert max(sent) > 5
    assert sum(sent) > 90
    assert not host.engine.state.counters["revoked"], "a chain is torn apart for a core that cannot use it"
