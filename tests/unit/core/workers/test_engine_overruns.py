"""Tasks that run far longer than their kind: what stands behind them, what is counted on, how often is looked."""

from __future__ import annotations

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.workers.line import LATE_S, LATE_TIMES
from agentd.core.workers.overruns import LOOK_S, SELDOM_S
from agentd.model.task import Template
from tests.unit.core.engine_desk import CALL, Desk

SHORT_S = 0.001


def taught(cores: int = 1, **more: object) -> tuple[Desk, int]:
    """Give a desk that knows how long its calls take, and a session."""
    desk = Desk(cores, **more)
    caller = desk.open_session(CALL, Template("m:once", idempotent=False))
    desk.call(caller, 1)
    desk.end(1, 1, seconds=SHORT_S)
    return desk, caller


def test_what_stands_behind_it_is_taken_back() -> None:
    """It waits for any core from then on, and nothing new is put there, until the long one has ended."""
    desk, caller = taught()
    desk.call(caller, 2, 3)
    assert [task.id for task in desk.one(c.RunTasks).tasks] == [2, 3]
    desk.turn(e.Ticked(), after_s=LOOK_S)
    assert desk.one(c.RevokeTasks) == c.RevokeTasks(1, 1)
    desk.turn(e.TasksRevoked(1, 1), e.RevokeSettled(1))
    desk.call(caller, 4)
    assert not desk.of(c.RunTasks)
    desk.end(1, 2, seconds=LOOK_S)
    assert [task.id for run in desk.of(c.RunTasks) for task in run.tasks][:1] == [3]


def test_one_that_takes_what_its_kind_takes_is_not_late() -> None:
    """However long that is: the line's own estimate, several times over, has to be passed."""
    desk, caller = taught()
    for number in range(2, 40):  # the mean comes near to what they take now
        desk.call(caller, number)
        desk.end(1, number, seconds=1.0)
    desk.call(caller, 40, 41)
    desk.turn(e.Ticked(), after_s=LOOK_S)
    assert not desk.of(c.RevokeTasks)
    (line,) = desk.state.crew.lines.values()
    assert not line.runs_late(desk.now)
    assert line.runs_late(desk.now + LATE_TIMES * max(line.ahead_s, LATE_S))


def test_its_core_is_not_counted_on() -> None:
    """With another core the work waits for that one alone; without, for as long as the late one has run."""
    desk, caller = taught(2)
    desk.call(caller, 2)
    crew = desk.state.crew
    assert crew.prospect(0.1) == (2.0, pytest.approx(SHORT_S))
    desk.call(caller, 3, 4)
    desk.turn(e.Ticked(), after_s=LOOK_S)
    first, second = crew.lines.values()
    assert (first.is_late, second.is_late) == (True, True)
    desk.end(2, 3, seconds=LOOK_S)
    assert crew.prospect(0.1)[0] == 1.0
    desk, caller = taught(1)
    desk.call(caller, 2, 3)
    desk.turn(e.Ticked(), after_s=LOOK_S)
    units, seconds = desk.state.crew.prospect(0.1)
    assert (units, seconds) == (1.0, pytest.approx(LOOK_S))
    desk.turn(e.TasksRevoked(1, 1), e.RevokeSettled(1), after_s=9.0)
    assert desk.state.crew.prospect(0.1)[1] == pytest.approx(LOOK_S + 9.0)


def test_nobody_looks_while_nothing_waits() -> None:
    """Two long tasks on two cores: once they are known to be late, the agent sleeps until something happens."""
    desk, caller = taught(2)
    desk.call(caller, 2)
    desk.call(caller, 3)
    desk.turn(e.Ticked(), after_s=LOOK_S)
    desk.turn(e.Ticked(), after_s=LOOK_S)
    assert all(len(line.tasks) < 2 for line in desk.state.crew.lines.values())
    assert desk.engine.next_wakeup is None


def test_the_longer_it_lasts_the_less_often_is_looked() -> None:
    """The scheduler is asked again as the outlook gets worse, and at least every so often."""
    desk, caller = taught()
    desk.call(caller, 2, 3)
    desk.turn(e.Ticked(), after_s=LOOK_S)
    desk.turn(e.TasksRevoked(1, 1), e.RevokeSettled(1))
    gaps = []
    for _ in range(12):
        due = desk.engine.next_wakeup
        assert due is not None
        gaps.append(due - desk.now)
        desk.turn(e.Ticked(), after_s=gaps[-1])
    assert [round(gap, 6) for gap in gaps] == sorted(round(gap, 6) for gap in gaps)
    assert gaps[-1] == pytest.approx(SELDOM_S)


def test_what_reads_what_it_makes_stays_behind_it() -> None:
    """It could run nowhere else."""
    desk, caller = taught()
    desk.call(caller, 2, 3)
    (line,) = desk.state.crew.lines.values()
    line.tasks[1].lacks = True
    assert line.loose() == 0
    line.tasks[1].lacks = False
    assert line.loose() == 1
