"""Workers and their lines: what is seated, taken back, ended, lost, stopped; and what must never happen to a line."""

from __future__ import annotations

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.journal.entries import Returned, Started
from agentd.core.placing.pool import Pool
from agentd.core.tasks.task import State
from agentd.core.workers.crew import Crew
from agentd.core.workers.line import AHEAD_LONGEST_S, AHEAD_MOST, CARRY_S
from agentd.model.errors import BrokenInvariant
from agentd.model.task import Constraints, Failure, Outcome, Reason, Status, Template
from agentd.model.values import Codec, Payload
from schedulers.capacity import Capacity, Kind, Processor, cores
from tests.unit.core.engine_desk import CALL, PLAIN, Desk

DEATH = Failure(Reason.SIGNAL, "WorkerDied", "signal 11")
SHORT = Template("m:short")


def prefetched(count: int = 4, units: int = 1) -> tuple[Desk, int]:
    """Give a desk whose first worker has so many short tasks in line."""
    desk = Desk(units)
    caller = desk.open_session(SHORT, CALL)
    desk.call(caller, 0)
    desk.end(1, 1, seconds=0.00001)
    desk.call(caller, *range(1, count + 1))
    return desk, caller


def test_one_runs_and_the_others_stand_behind() -> None:
    """A line holds one reservation, which passes from each to the next."""
    desk, _ = prefetched(4)
    assert [task.id for task in desk.one(c.RunTasks).tasks] == [2, 3, 4, 5]
    states = [desk.state.tasks[task].state for task in (2, 3, 4, 5)]
    assert states == [State.RUNNING, State.ASSIGNED, State.ASSIGNED, State.ASSIGNED]
    desk.end(1, 2, 3)
    assert desk.state.tasks[4].state is State.RUNNING
    assert desk.state.pool.free() == 0
    desk.end(1, 4, 5)
    assert desk.state.pool.free() == 1


def test_a_line_is_not_longer_than_it_may_be() -> None:
    """However short tasks are said to be."""
    desk, _ = prefetched(1000)
    desk.state.shapes.intern(SHORT).estimate_s = 1e-9
    assert len(desk.one(c.RunTasks).tasks) <= AHEAD_MOST


@pytest.mark.parametrize(
    ("size_bytes", "deep"), [(0, AHEAD_MOST), (5_000, AHEAD_MOST), (20_000, 334), (200_000, 34), (50_000_000, 2)]
)
def test_what_is_heavy_is_not_handed_out_far_ahead(size_bytes: int, deep: int) -> None:
    """Of tasks that take no time hundreds stand in a line, but no more bytes than are read in twenty milliseconds."""
    desk = Desk()
    caller = desk.open_session(SHORT)
    desk.call(caller, 0)
    desk.end(1, 1, seconds=1e-9)
    heavy = Payload(Codec.BYTES, bytes(size_bytes))
    desk.call(caller, *range(1, 4 * AHEAD_MOST), payload=heavy)
    line = desk.state.crew.lines[1]
    desk.now += 60.0
    desk.end(1, *[task.id for task in line.tasks], seconds=1e-9)
    assert len(line.tasks) == deep
    assert size_bytes * (len(line.tasks) - 1) * CARRY_S <= AHEAD_LONGEST_S or deep == 2
    assert desk.state.queue.bytes == desk.state.queue.size * size_bytes
    desk.end(1, *[task.id for task in line.tasks], seconds=1e-9)
    assert len(line.tasks) == deep


@pytest.mark.parametrize(
    ("waited_s", "deep", "held_ms"),
    [(0.0, 2, 1), (0.009, 2, 1), (0.05, 6, 2), (0.1, 11, 5), (0.2, 21, 10), (0.5, 21, 25), (60.0, 21, 50)],
)
def test_what_has_waited_long_is_handed_out_further_ahead(waited_s: float, deep: int, held_ms: int) -> None:
    """A tenth of the wait goes into a line, from 1 to 20 ms of work; results may be held for a twentieth, to 50 ms."""
    desk = Desk()
    caller = desk.open_session(SHORT)
    desk.call(caller, 0)
    desk.end(1, 1, seconds=0.001)
    desk.call(caller, 1, 2)
    desk.call(caller, *range(3, 40))
    desk.now += waited_s
    desk.end(1, 2, seconds=0.001)
    assert len(desk.state.crew.lines[1].tasks) == deep
    assert desk.one(c.RunTasks).hold_ms == held_ms


def test_large_results_are_not_made_far_ahead() -> None:
    """However long their calls have waited: what nobody takes soon stops the next from being made."""
    desk = Desk()
    caller = desk.open_session(SHORT)
    desk.call(caller, *range(40))
    large = Payload(Codec.JSON, b"x" * 100_000)
    desk.end(1, 1, seconds=0.001, value=large)
    desk.now += 60.0
    desk.end(1, 2, seconds=0.001, value=large)
    assert len(desk.state.crew.lines[1].tasks) == 2
    assert desk.one(c.RunTasks).hold_ms == 1


def test_a_new_call_among_old_ones_is_not_held_with_them() -> None:
    """What its worker is told goes for the tasks of one frame only, and these are of one age."""
    desk = Desk()
    caller = desk.open_session(SHORT, Template("m:urgent", priority=1))
    desk.call(caller, 0)
    desk.end(1, 1, seconds=0.001)
    desk.call(caller, 0, template=1)
    desk.end(1, 2, seconds=0.001)
    desk.call(caller, *range(1, 40))
    desk.now += 0.16
    desk.call(caller, 50, template=1)
    desk.end(1, 3, seconds=0.001)
    told = {task.ref: run.hold_ms for run in desk.of(c.RunTasks) for task in run.tasks}
    assert told.pop(50) == 1
    assert set(told.values()) == {8}


def test_an_unknown_run_time_has_the_line_for_itself() -> None:
    """Nothing stands behind what may take for ever."""
    desk = Desk()
    caller = desk.open_session(CALL)
    desk.call(caller, 1, 2)
    assert [task.id for task in desk.one(c.RunTasks).tasks] == [1]


def test_what_turns_out_short_is_followed_by_more_although_the_line_never_empties() -> None:
    """Old estimates do not stay in the sum of a line for ever."""
    desk = Desk()
    caller = desk.open_session(CALL)
    desk.call(caller, 0)
    desk.end(1, 1, seconds=0.04)
    desk.call(caller, *range(1, 400))
    for _ in range(90):
        first = desk.state.crew.lines[1].tasks[0].id
        desk.end(1, first, seconds=0.00001)
    assert len(desk.state.crew.lines[1].tasks) > 20


def test_an_end_out_of_turn_is_a_broken_invariant() -> None:
    """An engine in unknown state is never carried on with."""
    desk, _ = prefetched(3)
    with pytest.raises(BrokenInvariant, match="not its next"):
        desk.end(1, 3)


def test_more_than_was_asked_back_is_a_broken_invariant() -> None:
    """As is an answer that was not asked for."""
    desk, _ = prefetched(3)
    with pytest.raises(BrokenInvariant, match="not asked"):
        desk.turn(e.TasksRevoked(1, 1))


def test_what_concerns_a_worker_that_is_gone_is_passed_over() -> None:
    """Its events may still be under way."""
    desk = Desk()
    desk.turn(
        e.WorkerStarted(9, 1),
        e.TasksEnded(9, []),
        e.TasksRevoked(9, 1),
        e.RevokeSettled(9),
        e.WorkerLost(9, DEATH),
    )
    assert desk.commands == []


def test_nothing_is_added_to_a_line_that_gives_back() -> None:
    """Until its worker has said that it knows: neither behind others nor when it is empty."""
    desk, caller = prefetched(4)
    desk.turn(e.CallsCancelled(caller, (4,)))
    assert desk.one(c.RevokeTasks).count == 1
    desk.call(caller, 10)
    assert desk.of(c.RunTasks) == []
    desk.turn(e.TasksRevoked(1, 1))
    desk.end(1, 2, 3, 4)
    assert desk.of(c.RunTasks) == []
    assert desk.of(c.StartWorker) == []
    desk.turn(e.RevokeSettled(1))
    assert desk.one(c.RunTasks).tasks[0].ref == 10


def test_a_revocation_that_yields_nothing_leaves_the_line_usable() -> None:
    """The worker was faster; what was cancelled then runs, and is stopped."""
    desk, caller = prefetched(2)
    desk.turn(e.CallsCancelled(caller, (2,)))
    desk.turn(e.TasksRevoked(1, 0), e.RevokeSettled(1))
    assert desk.one(c.InterruptTask).task == 3
    desk.end(1, 2, 3)
    assert [one.outcome.status for one in desk.one(c.SettleCalls).settled] == [Status.DONE, Status.CANCELLED]
    desk.call(caller, 10)
    assert desk.one(c.RunTasks).worker == 1


def test_a_revocation_of_a_line_that_has_emptied_does_not_make_it_idle_twice() -> None:
    """One worker is handed out once."""
    desk, caller = prefetched(2)
    desk.turn(e.CallsCancelled(caller, (2,)))
    desk.end(1, 2, 3)
    desk.turn(e.TasksRevoked(1, 0), e.RevokeSettled(1))
    desk.turn(e.ResourceAdded(0, "own", cores(1)))
    desk.call(caller, 10, 11, template=1)
    assert sorted(run.worker for run in desk.of(c.RunTasks)) == [1, 2]


def test_two_cancellations_in_one_line_ask_for_each_task_once() -> None:
    """What was asked back already is counted."""
    desk, caller = prefetched(5)
    desk.turn(e.CallsCancelled(caller, (4,)))
    desk.turn(e.CallsCancelled(caller, (5, 3)))
    assert [one.count for one in desk.of(c.RevokeTasks)] == [1]
    desk.turn(e.TasksRevoked(1, 2), e.TasksRevoked(1, 1), e.RevokeSettled(1), e.RevokeSettled(1))
    assert [one.ref for one in desk.one(c.SettleCalls).settled] == [4, 5, 3]


def test_a_cancelled_task_that_raises_is_not_repeated() -> None:
    """Its owner does not want it any more."""
    desk = Desk()
    retried = Template("m:short", on_failure="RETRY")
    caller = desk.open_session(retried)
    desk.call(caller, 0)
    desk.end(1, 1, seconds=0.00001)
    desk.call(caller, 1, 2)
    desk.turn(e.CallsCancelled(caller, (2,)))
    failure = Failure(Reason.EXCEPTION, "ValueError", "no")
    desk.turn(e.TasksEnded(1, [e.TaskResult(2, 0), e.TaskResult(3, 1, failure=failure)]))
    assert [one.outcome.status for one in desk.one(c.SettleCalls).settled] == [Status.DONE, Status.CANCELLED]
    assert desk.state.tasks == {}


def test_a_cancelled_task_whose_worker_dies_does_not_run_again() -> None:
    """Neither the one that ran nor the one behind it."""
    desk, caller = prefetched(3)
    desk.turn(e.CallsCancelled(caller, (1, 3)))
    desk.turn(e.WorkerLost(1, DEATH, running=2))
    statuses = {one.ref: one.outcome.status for one in desk.one(c.SettleCalls).settled}
    assert statuses == {1: Status.CANCELLED, 3: Status.CANCELLED}
    assert [task.ref for task in desk.state.tasks.values()] == [2]


def test_a_worker_that_we_killed_is_no_loss() -> None:
    """Stubborn tasks do not make starting back off."""
    desk = Desk()
    caller = desk.open_session(CALL)
    desk.call(caller, *range(10))
    for number in range(10):
        desk.turn(e.CallsCancelled(caller, (number,)))
        desk.turn(e.WorkerLost(number + 1, DEATH, running=number + 1))
    assert desk.state.not_starting == ""
    assert desk.state.tasks == {}


def test_a_worker_that_dies_unasked_is_told_with_what_it_ran() -> None:
    """Whoever watches, or reads the log, sees of what it died; one that ran nothing is told too."""
    desk, _ = prefetched(1)
    (run,) = desk.state.tasks.values()
    for worker, running, ran in ((1, run.id, run.shape.template.function), (2, 0, "")):
        desk.turn(e.WorkerLost(worker, DEATH, running=running))
        (told,) = [told for told in desk.of(c.Publish) if told.topic == "worker"]
        assert (told.subject, told.detail["function"], told.detail["reason"]) == (str(worker), ran, DEATH.message)


def test_a_worker_that_an_agent_ends_when_it_stops_is_no_loss() -> None:
    """It was not asked for by the engine, and yet nothing has gone wrong."""
    desk, _ = prefetched(1)
    desk.turn(e.WorkerLost(1, Failure(Reason.NONE, "Stopped", "not needed")))
    assert [told for told in desk.of(c.Publish) if told.topic == "worker"] == []
    assert desk.state.counters["worker_losses"] == 0


def test_losses_in_a_row_stop_the_starting_for_a_while() -> None:
    """More than five in ten seconds; the pause grows and has an end, and the reason is kept."""
    desk = Desk()
    desk.submit(Template("m:f", durable=True, max_attempts=99))
    for worker in range(1, 6):
        desk.turn(e.WorkerLost(worker, DEATH))
        assert desk.of(c.StartWorker)
    desk.turn(e.WorkerLost(6, DEATH))
    assert desk.of(c.StartWorker) == []
    assert "6 workers ended within 10 s" in desk.state.not_starting
    desk.turn(e.Ticked(), after_s=1.0)
    assert desk.state.not_starting == ""
    assert desk.of(c.StartWorker)
    desk.turn(e.Ticked(), after_s=20.0)
    for worker in range(7, 2000):
        desk.engine.handle(e.WorkerLost(worker, DEATH), desk.now)
        desk.engine.state.crew.may_start = True
        desk.engine.drain(desk.now)


def test_an_idle_worker_is_stopped_when_the_pool_has_shrunk_and_only_then() -> None:
    """And not one more while the first is ending."""
    desk = Desk(4)
    caller = desk.open_session(CALL)
    desk.call(caller, *range(4))
    for worker in range(1, 5):
        desk.end(worker, worker)
    desk.turn(e.ResourceReduced(0, "own", cores(2)))
    assert len(desk.of(c.StopWorker)) == 2
    desk.turn(e.ResourceAdded(0, "own", cores(1)))
    desk.turn(e.Ticked())
    assert desk.of(c.StopWorker) == []
    stopped = [line.worker for line in desk.state.crew.lines.values() if line.is_stopping]
    for worker in stopped:
        desk.turn(e.WorkerLost(worker, DEATH))
    assert desk.state.counters["worker_losses"] == 0
    assert [told for told in desk.of(c.Publish) if told.topic == "worker"] == []
    assert len(desk.state.crew.lines) == 2


def test_no_more_workers_than_units() -> None:
    """A line that gives back is waited for, not replaced by another process."""
    crew = Crew(Pool(cores(1)))
    assert crew._wanted() == 1
    assert crew._may_grow()


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_time_out_is_that_of_this_very_run(*, is_durable: bool) -> None:
    """The clock of a run that was lost does not stop the next one."""
    desk = Desk()
    timed = Template("m:t", timeout_s=10.0, durable=is_durable)
    if is_durable:
        desk.submit(timed)
    else:
        desk.call(desk.open_session(timed), 1)
    desk.turn(e.WorkerLost(1, DEATH), after_s=5.0)
    desk.turn(e.Ticked(), after_s=6.0)
    assert desk.of(c.InterruptTask) == []
    desk.turn(e.Ticked(), after_s=4.0)
    assert desk.one(c.InterruptTask).timed_out


def test_what_may_run_only_once_waits_for_the_disk_twice() -> None:
    """For its acceptance, and for its start."""
    desk = Desk()
    desk.turn(e.OperationSubmitted(5, Template("m:o", durable=True, idempotent=False), Payload()))
    assert desk.state.tasks[1].state is State.HELD
    desk.commit()
    assert desk.of(c.RunTasks) == []
    assert type(desk.one(c.Record).entry) is Started
    desk.commit()
    assert desk.one(c.RunTasks).tasks[0].id == 1
    assert desk.one(c.RunTasks).binding is not None


def test_what_was_never_sent_is_not_interrupted_and_its_worker_learns_the_units_of_the_next() -> None:
    """Cancelled between its seat and the commit of its start."""
    desk = Desk()
    desk.submit(Template("m:o", durable=True, idempotent=False))
    desk.turn(e.CancelRequested(6, 1))
    assert desk.of(c.InterruptTask) == []
    desk.commit()
    assert desk.of(c.RunTasks) == []
    assert desk.state.ledger.operations[1].status == Status.CANCELLED
    desk.submit(PLAIN)
    assert desk.one(c.RunTasks).binding is not None


def test_what_waits_for_the_disk_when_its_worker_dies_is_seated_anew() -> None:
    """Its start was written down, and is taken back."""
    desk = Desk()
    desk.submit(Template("m:o", durable=True, idempotent=False))
    desk.turn(e.WorkerLost(1, DEATH))
    assert [type(one.entry) for one in desk.of(c.Record)] == [Returned, Started]
    desk.commit()
    assert [run.worker for run in desk.of(c.RunTasks)] == [2]


def test_a_worker_that_gives_no_reason_still_ends_its_task() -> None:
    """There is always a failure to show."""
    desk = Desk()
    desk.call(desk.open_session(CALL), 1)
    desk.end(1, 1, status=1)
    assert desk.one(c.SettleCalls).settled[0].outcome.failure.message == "the worker gave no reason"


def test_an_end_that_is_neither_done_nor_failed_is_taken_as_it_is() -> None:
    """A worker may say that a task was cancelled."""
    desk = Desk()
    desk.call(desk.open_session(CALL), 1)
    desk.end(1, 1, status=int(Status.CANCELLED))
    assert desk.one(c.SettleCalls).settled[0].outcome.status == Status.CANCELLED


def test_idle_cores_take_over_what_stands_behind_long_ones() -> None:
    """But only for a worker that is there, or work that is worth a new one."""
    desk, _ = prefetched(6)
    desk.turn(e.ResourceAdded(0, "own", cores(1)))
    assert desk.of(c.RevokeTasks) == []
    for task in desk.state.tasks.values():
        task.shape.estimate_s = 1.0
    desk.state.crew.lines[1].ahead_s = 6.0
    desk.turn(e.ResourceAdded(0, "own", cores(1)))
    assert desk.one(c.RevokeTasks).count == 3
    desk.turn(e.TasksRevoked(1, 3), e.RevokeSettled(1))
    assert len(desk.of(c.StartWorker)) == 2


def test_gpus_are_bound_by_their_ids() -> None:
    """A task is told which are its own."""
    desk = Desk(Capacity(processors=(Processor(units=2), Processor(units=2, kind=Kind.GPU))))
    caller = desk.open_session(Template("m:g", constraints=Constraints(gpus=1)))
    desk.call(caller, 1, 2)
    assert [(run.binding.cpus, run.binding.gpus) for run in desk.of(c.RunTasks)] == [((0,), (0,)), ((1,), (1,))]


def test_outcomes_say_where_and_which_attempt() -> None:
    """For users who want to know."""
    desk = Desk()
    desk.call(desk.open_session(CALL), 1)
    desk.end(1, 1, seconds=0.5)
    outcome = desk.one(c.SettleCalls).settled[0].outcome
    assert outcome == Outcome(0, outcome.value, None, 0.5, "own", 0, 1)


def test_what_needs_no_core_keeps_nobody_from_one() -> None:
    """While tasks without units run, each core has a worker of its own; and of such tasks there are only so many."""
    desk = Desk(1)
    light = Template("m:light", constraints=Constraints(computing_units=0))
    caller = desk.open_session(light, PLAIN)
    for ref in range(4):
        desk.call(caller, ref)
    desk.call(caller, 4, template=1)
    assert [task.shape.template.function for task in desk.one(c.RunTasks).tasks] == [PLAIN.function]
    assert desk.state.pool.free() == 0
    assert not desk.state.crew.is_crowded
    desk.call(caller, 5)
    assert sum(line.is_light for line in desk.state.crew.lines.values()) == 4
