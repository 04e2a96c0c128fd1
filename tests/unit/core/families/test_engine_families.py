"""Families: order, failures, groups, limits, and what is let go when."""

from __future__ import annotations

import pytest

from agentd.core.data.versions import Child, Versions
from agentd.model.graph import Spawned, Standing
from agentd.model.task import Form, Outcome, Reason, Status, Template
from agentd.model.values import Part, Payload
from tests.fakes.world import World
from tests.fakes.world_agent import Host
from tests.fakes.world_nested import Nest, Step
from tests.fakes.world_users import recorded
from tests.fakes.world_workers import KILLED

FAIL, CANCEL, RETRY, TIMED, IGNORED = range(5)
TEMPLATES = [
    Template("m:fail", Form.TASK),
    Template("m:cancel", Form.TASK, on_failure="CANCEL_SUCCESSORS"),
    Template("m:retry", Form.TASK, on_failure="RETRY"),
    Template("m:timed", Form.TASK, timeout_s=0.5),
    Template("m:ignored", Form.TASK, timeout_s=0.5, on_failure="IGNORE"),
]
ROOT = Template("m:root", durable=True)


def versions_that_let_go(released: list[Payload]) -> Versions:
    """Make the versions of a family; what it lets go is told to `released`."""
    lineage = World().add("a", 1).engine.state.lineage
    lineage.release = released.append  # type: ignore[method-assign]
    return Versions(1, lineage)


class Play:
    """One operation on one agent; what its tasks did is told by name."""

    def __init__(self, *steps: Step, cores: int = 2, raises: str = "", seconds: float = 0.0) -> None:
        self.world = World()
        self.host: Host = self.world.add("a", cores)
        self.host.nested = TEMPLATES
        self.begun: list[str] = []
        self.number = 0
        started = self.host.started

        def note(process: object, task: object) -> None:
            data = task.payload.data.decode()  # type: ignore[attr-defined]
            self.begun.append(data.split('"name":"')[1].split('"')[0])
            started(process, task)  # type: ignore[arg-type]

        self.host.started = note  # type: ignore[method-assign, assignment]
        program = Nest("root", seconds, steps, raises).write().data.decode()
        self.host.submit(ROOT, program, self._answered)

    def _answered(self, value: object) -> None:
        assert isinstance(value, tuple)
        self.number = value[0]

    def end(self, seconds: float = 20.0) -> Outcome:
        """Let it end; nothing of it may be left."""
        self.world.run(0.5)
        assert self.world.run_until(lambda: self.world.is_quiet, seconds, 0.1)
        self.world.run(1.0)
        assert self.world.history.close() == []
        outcome = recorded(self.host, self.number)
        assert outcome is not None
        return outcome


def task(
    name: str, seconds: float = 0.01, raises: str = "", template: int = FAIL, steps: tuple[Step, ...] = ()
) -> Nest:
    """Make a child."""
    return Nest(name, seconds, steps, raises, template)


def test_what_comes_after_does_not_read_and_waits_all_the_same() -> None:
    """A task begins only when the versions are there that it names under `after`."""
    play = Play(Step(task("slow", 1.0), makes=(0,)), Step(task("quick"), after=(0,)), Step(task("free")))
    assert play.end().status == Status.DONE
    assert sorted(play.begun[:3]) == ["free", "root", "slow"]
    assert play.begun[3:] == ["quick"]
    assert play.world.history.runs[max(play.world.history.runs) - 1][0][0] > 1.0, "it waited for the slow one"


def test_a_failure_that_nobody_was_told_of_is_the_parents() -> None:
    """Independent tasks go on, successors never run, and the parent ends with its child's failure."""
    play = Play(
        Step(task("bad", 0.1, "raise"), makes=(0,)),
        Step(task("successor"), reads=(0,), makes=(1,)),
        Step(task("later"), reads=(1,)),
        Step(task("free", 0.5)),
    )
    outcome = play.end()
    assert outcome.status == Status.FAILED
    assert outcome.failure is not None
    assert (outcome.failure.message, outcome.failure.agent) == ("bad: raise", "a")
    assert sorted(play.begun) == ["bad", "free", "root"]


@pytest.mark.parametrize(("seconds", "how", "runs"), [(0.1, "segv", 3), (0.1, "oom", 1), (9.0, "", 1)])
@pytest.mark.parametrize("cores", [1, 2])
def test_what_is_to_be_ignored_is_ignored_where_its_worker_was_killed(
    cores: int, seconds: float, how: str, runs: int
) -> None:
    """No exception was there to be ignored: another worker gives what it is to have, and what reads it goes on."""
    play = Play(
        Step(task("bad", seconds, how, IGNORED), makes=(0,)),
        Step(task("successor"), reads=(0,), makes=(1,)),
        Step(waits=(0, 1)),
        cores=cores,
    )
    assert play.end().status == Status.DONE
    assert play.begun.count("bad") == runs
    assert play.begun.count("successor") == 1


def test_what_is_to_be_ignored_and_was_cancelled_is_over() -> None:
    """A group that is given up gets no defaults: nobody reads them."""
    play = Play(
        Step(task("bad", 9.0, "", IGNORED), makes=(0,), groups=(1,)),
        Step(task("other", 0.2), makes=(1,)),
        Step(waits=(1,)),
        Step(cancels=1),
        Step(waits=(0,)),
    )
    assert play.end().status == Status.DONE
    assert play.begun.count("bad") == 1


def test_cancel_successors_fails_nobody_else() -> None:
    """Its successors are cancelled, and the family goes on: the parent reads that there is nothing."""
    play = Play(
        Step(task("bad", 0.1, "raise", CANCEL), makes=(0,)),
        Step(task("successor"), reads=(0,), makes=(1,)),
        Step(waits=(0, 1)),
    )
    assert play.end().status == Status.DONE
    assert "successor" not in play.begun


def test_retry_runs_four_times() -> None:
    """A task whose code raises under RETRY has four executions in all."""
    play = Play(Step(task("bad", 0.01, "raise", RETRY)))
    assert play.end().status == Status.FAILED
    assert play.begun.count("bad") == 4


def test_who_raises_a_group_exception_is_done_and_ends_its_group() -> None:
    """The others of its groups are cancelled, running or not; the barrier of the group is told, other tasks go on."""
    play = Play(
        Step(task("long", 30.0), groups=(1,)),
        Step(task("ender", 0.2, "group"), makes=(0,), groups=(1,)),
        Step(task("waiting", 30.0), groups=(1,)),
        Step(task("other", 1.0)),
        Step(barrier=1),
    )
    outcome = play.end()
    assert outcome.failure is not None
    assert outcome.failure.message == "root: ender ends its group"
    assert "waiting" not in play.begun
    assert play.world.now < 10


def test_a_cancelled_group_is_over_and_others_are_not() -> None:
    """What has not started never does, what runs is stopped, and the rest of the family ends well."""
    play = Play(
        Step(task("in group", 30.0), makes=(0,), groups=(1,)),
        Step(task("not", 1.0), makes=(1,)),
        Step(task("in group too", 30.0), groups=(1,)),
        Step(cancels=1),
        Step(waits=(0, 1)),
    )
    assert play.end().status == Status.DONE
    assert "in group too" not in play.begun
    assert play.world.now < 10


def test_after_the_wall_clock_limit_nothing_runs() -> None:
    """What runs is stopped, what waits is cancelled, and what is asked for later is too."""
    play = Play(
        Step(limit=0.5),
        Step(task("long", 30.0), makes=(0,)),
        Step(waits=(0,)),
        Step(task("too late"), makes=(1,)),
        Step(waits=(1,)),
    )
    play.end()
    assert play.begun == ["root", "long"]
    assert play.world.now < 10


def test_a_time_out_is_a_failure_with_its_reason() -> None:
    """A child that runs too long is ended in time, and the parent learns why."""
    play = Play(Step(task("long", 30.0, template=TIMED), makes=(0,)))
    outcome = play.end()
    assert outcome.failure is not None
    assert outcome.failure.reason == Reason.TIMED_OUT


@pytest.mark.parametrize("cores", [1, 2])
def test_a_cancelled_operation_takes_all_below_it_along(cores: int) -> None:
    """Children and their children are stopped, wherever they wait or run, before the operation is over."""
    deep = task("inner", 30.0)
    for level in range(6):
        deep = task(f"level {level}", 0.0, steps=(Step(deep, makes=(0,)), Step(waits=(0,))))
    play = Play(Step(deep, makes=(0,)), Step(task("beside", 30.0)), Step(waits=(0,)), cores=cores)
    play.world.run(2.0)
    play.host.cancel(play.number, lambda _: None)
    assert play.end().status == Status.CANCELLED
    assert play.world.now < 30


def test_a_parent_that_runs_again_has_stopped_what_it_asked_for_before() -> None:
    """Its worker dies: its children end first, and none of them runs beside those of the next execution."""
    play = Play(Step(task("child", 3.0), makes=(0,)), Step(waits=(0,)))
    play.world.run(1.0)
    blocked = next(one for one in play.host.processes.values() if one.blocked)
    blocked.die(KILLED)
    assert play.end().status == Status.DONE
    assert play.begun == ["root", "child", "root", "child"]
    (_, _), (again, _) = play.world.history.runs[play.number]
    assert again < 2.0, "the first child was stopped, not waited for"


def test_an_outcome_waits_for_tasks_that_nobody_waits_for() -> None:
    """The code of the parent has ended; the operation ends when the last of its tasks has."""
    play = Play(Step(task("slow", 2.0)))
    play.world.run(1.0)
    assert recorded(play.host, play.number) is None
    assert play.end().status == Status.DONE


def test_a_version_is_let_go_when_nobody_can_ask_for_it() -> None:
    """Given up by the code, it lives until its last reader has ended, and its memory is released once."""
    released: list[Payload] = []
    versions = versions_that_let_go(released)
    value = Payload(1, b"", (Part(5, None, 3),))
    child = Child(1, Spawned(1, 1, Payload(), reads=(7,)), 1)
    versions.put(7, value)
    assert versions.read(child) is None
    versions.give_up([7])
    assert (released, len(versions)) == ([], 1)
    versions.unread([7])
    assert (released, len(versions)) == ([value], 0)
    versions.close()
    assert released == [value]


def test_what_was_read_and_given_up_is_let_go_while_the_family_lives() -> None:
    """The record of a version ends with its last reader, not with its parent."""
    play = Play(
        Step(task("a"), makes=(0,)),
        Step(task("b"), reads=(0,), makes=(1,)),
        Step(drops=(0,)),
        Step(waits=(1,)),
        seconds=5.0,
    )
    play.world.run(2.0)
    (family,) = play.host.engine.state.families.values()
    assert len(family.versions) == 1
    assert play.end().status == Status.DONE


def test_a_version_that_nobody_wants_is_let_go_as_soon_as_it_is_made() -> None:
    """The code gave it up before it was there."""
    released: list[Payload] = []
    versions = versions_that_let_go(released)
    versions.open((7,), 1)
    versions.give_up([7])
    value = Payload(1, b"", (Part(5, None, 3),))
    versions.settle(7, Standing.THERE, value, None)
    assert (released, len(versions)) == ([value], 0)
    versions.settle(7, Standing.THERE, value, None)
    assert released == [value, value], "a second value of it is let go too"


def test_a_version_that_was_never_made_counts_as_failed() -> None:
    """Whoever names it is told so, and does not wait for ever."""
    versions = versions_that_let_go([])
    lost = versions.read(Child(1, Spawned(1, 1, Payload(), reads=(9,)), 1))
    assert lost is not None
    assert lost.failure is not None
    assert lost.failure.type == "UnknownVersion"
