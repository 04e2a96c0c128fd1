"""Resources reshaped: this device's own and what neighbours grant, written down and answered."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.engine import Engine
from agentd.core.journal.entries import Accepted, Booted, Cancelling, Delivered, Ended, HostAdded, HostRemoved, Started
from agentd.core.journal.ledger import Retention
from agentd.core.journal.recovery import fold
from agentd.core.neighbours.neighbour import LinkState
from agentd.core.placing.pool import Pool, Reservation, Slot
from agentd.core.state import Identity, Rules
from agentd.core.tasks.task import HERE, Path, State
from agentd.core.timers import Timers
from agentd.model.errors import BrokenInvariant, RequestError
from agentd.model.exchange import End
from agentd.model.task import Outcome, Status, Template
from agentd.model.values import Part, Payload
from schedulers.capacity import Capacity, Kind, Processor, cores
from schedulers.loading import load
from tests.unit.core.engine_desk import CALL, LINK, PLAIN, Desk

TASK = 5_000_001


def test_own_units_come_and_go_and_are_written_down() -> None:
    """The answer leaves when it is on the disk."""
    desk = Desk(2)
    desk.turn(e.ResourceAdded(5, "own", cores(2)))
    entry = desk.one(c.Record).entry
    assert isinstance(entry, HostAdded)
    assert msgspec.json.decode(entry.capacity, type=Capacity).units() == 4
    assert desk.of(c.Reply) == []
    desk.commit()
    assert desk.reply(5) == "own"
    desk.turn(e.ResourceReduced(6, "own", cores(3)))
    desk.commit()
    assert desk.state.pool.total() == 1
    desk.turn(e.ResourceReduced(7, "own", cores(3)))
    assert desk.reply(7).status == 409
    desk.turn(e.ResourceRemoved(8, "own"))
    desk.commit()
    assert (desk.reply(8), desk.state.pool.total()) == ("own", 0)


def test_a_change_of_own_units_lasts_until_the_settings_change() -> None:
    """A restart with the same settings begins with what the operator left; with other ones they count."""
    desk = Desk(4)
    desk.turn(e.ResourceReduced(5, "own", cores(3)))
    recovered = fold([desk.one(c.Record).entry])
    again, other = Desk(4), Desk(8)
    for restarted in (again, other):
        restarted.engine.restore(recovered, {}, 0.0)
    assert (again.state.pool.total(), other.state.pool.total()) == (1, 8)
    assert again.state.pool.fits_now(cores(1))
    assert not again.state.pool.could_fit(cores(2))
    told = [[one for one in desk.engine.drain(0.0) if isinstance(one, c.Alarm)] for desk in (again, other)]
    assert [len(alarms) for alarms in told] == [1, 0]


def test_a_lost_own_device_stops_what_runs_and_blames_nobody() -> None:
    """All workers are killed at once; what ran is one attempt further, what stood behind it is not."""
    desk = Desk(1)
    caller = desk.open_session()
    desk.call(caller, 0, 1)
    first = desk.state.crew.lines[1].tasks[0].id
    desk.turn(e.WorkerStarted(1, 1), e.TasksEnded(1, [e.TaskResult(first, 0, seconds=0.0001)]))
    desk.call(caller, 2, 3)
    ran, *behind = list(desk.state.crew.lines[1].tasks)
    desk.turn(e.ResourceRemoved(6, "own", True))
    assert desk.of(c.StopWorker) == [c.StopWorker(1, at_once=True)]
    assert desk.state.crew.lines == {}
    assert (ran.attempt, ran.blames, [task.attempt for task in behind]) == (2, 0, [1] * len(behind))
    assert {task.state for task in (ran, *behind)} == {State.WAITING}
    desk.turn(e.ResourceAdded(7, "own", cores(1)))
    assert desk.state.crew.running() == 1


def test_what_is_owed_is_not_passed_on_while_tasks_wait() -> None:
    """Units leave after the task that holds them, however many wait behind it: what was handed out ahead comes back."""
    desk = Desk(2)
    caller = desk.open_session()
    desk.call(caller, 0, 1)
    lines = desk.state.crew.lines
    for worker in list(lines):
        first = lines[worker].tasks[0].id
        desk.turn(e.WorkerStarted(worker, worker), e.TasksEnded(worker, [e.TaskResult(first, 0, seconds=0.01)]))
    desk.call(caller, *range(2, 12))
    assert all(len(line.tasks) == 2 for line in lines.values())
    desk.turn(e.ResourceReduced(6, "own", cores(1)))
    assert {command.worker for command in desk.of(c.RevokeTasks)} == set(lines)
    for worker in list(lines):
        desk.turn(e.TasksRevoked(worker, 1), e.RevokeSettled(worker))
    assert desk.of(c.RunTasks) == []
    first = next(iter(lines))
    desk.turn(e.TasksEnded(first, [e.TaskResult(lines[first].tasks[0].id, 0, seconds=0.01)]))
    assert (desk.state.pool.total(), desk.state.pool.owed()) == (1, 0)
    assert desk.state.crew.running() == 1
    assert all(len(line.tasks) <= 2 for line in lines.values())


def test_a_neighbour_that_is_added_is_dialled_and_grows() -> None:
    """A second grant is added to the first."""
    desk = Desk(1)
    desk.turn(e.ResourceAdded(5, "n", cores(1), "comm", (("Port", "1"),), is_parent=True))
    assert desk.one(c.OpenLink).properties == (("Port", "1"),)
    desk.turn(e.ResourceAdded(6, "n", cores(2)))
    assert desk.of(c.OpenLink) == []
    row = desk.state.neighbourhood.get("n")
    assert (row.granted.units(), row.is_parent) == (3, True)


def test_one_that_is_connected_is_kept_a_link_to_from_then_on() -> None:
    """It came and gave us work, now it takes some too: when it is gone, it is looked for."""
    desk = Desk(1)
    desk.neighbour("n", 1, is_pooled=False)
    desk.turn(e.ResourceAdded(5, "n", cores(1)))
    assert desk.one(c.OpenLink).neighbour == "n"
    assert desk.state.neighbourhood.get("n").state is LinkState.CONNECTED
    assert [row.name for row in desk.state.neighbourhood.rows] == ["n"]


def test_a_grant_is_reduced_and_with_the_last_unit_the_neighbour_leaves() -> None:
    """What it holds may end; then its link closes."""
    desk = Desk(0)
    desk.turn(e.ResourceAdded(0, "n", cores(2), "comm"))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK))
    desk.submit()
    desk.turn(e.ResourceReduced(5, "n", cores(1)))
    desk.commit()
    assert desk.reply(5) == "n"
    desk.turn(e.ResourceReduced(6, "n", cores(1)))
    assert type(desk.one(c.Record).entry) is HostRemoved
    assert desk.of(c.CloseLink) == []
    desk.turn(e.EndsReceived("n", [_end(1)]))
    assert desk.one(c.CloseLink).neighbour == "n"
    assert desk.state.neighbourhood.get("n") is None


def _end(task: int) -> End:
    return End(task, 1, 0, Outcome())


def test_what_is_not_there_cannot_be_changed() -> None:
    """404 says what there is; 409 how much."""
    desk = Desk(1)
    desk.turn(e.ResourceReduced(5, "x", cores(1)), e.ResourceRemoved(6, "x"))
    assert desk.reply(5).status == 404
    assert "there are: own" in str(desk.reply(6))
    desk.turn(e.ResourceAdded(0, "n", cores(1), "comm"), e.ResourceReduced(7, "n", cores(4)))
    assert desk.reply(7).status == 409


def test_a_neighbour_that_leaves_stays_known_while_it_waits_for_ends() -> None:
    """What it gave us is told to it when it comes back."""
    desk = Desk(1)
    desk.neighbour("n", 1)
    desk.offer(TASK)
    desk.end(1, TASK)
    desk.commit()
    desk.turn(e.LinkClosed("n", LINK, "reset"), e.ResourceRemoved(5, "n"))
    assert desk.one(c.CloseLink).neighbour == "n"
    row = desk.state.neighbourhood.get("n")
    assert (row.is_pooled, list(row.ends_unacknowledged)) == (False, [TASK])


def test_added_again_while_it_leaves_it_stays() -> None:
    """The operator has changed their mind."""
    desk = Desk(0)
    desk.neighbour("n", 1)
    desk.submit()
    desk.turn(e.ResourceRemoved(5, "n"))
    desk.turn(e.ResourceAdded(6, "n", cores(1)))
    desk.turn(e.EndsReceived("n", [_end(1)]))
    assert desk.of(c.CloseLink) == []
    assert desk.state.neighbourhood.get("n").is_pooled


# --- the pool's own edges ---------------------------------------------------------------------------------------


def test_reducing_more_than_one_entry_has_is_refused_whole() -> None:
    """Nothing is taken when not all can be."""
    pool = Pool(Capacity(processors=(Processor(units=2), Processor(units=1, kind=Kind.GPU)), memory_mib=10))
    with pytest.raises(RequestError, match="memory"):
        pool.reduce(cores(1, memory_mib=20))
    with pytest.raises(RequestError, match="GPU"):
        pool.reduce(Capacity(processors=(Processor(units=1), Processor(units=2, kind=Kind.GPU))))
    assert (pool.free(), pool.free(Kind.GPU)) == (2, 1)


def test_a_grant_given_back_twice_is_a_broken_invariant() -> None:
    """An engine in unknown state is never carried on with."""
    pool = Pool(cores(1))
    reservation = pool.reserve(cores(1))
    pool.release(reservation)
    with pytest.raises(BrokenInvariant, match="more units"):
        pool.release(reservation)


def test_what_fits_is_what_is_granted() -> None:
    """The answer and the grant come of one rule, also when a demand names one kind of unit twice."""
    pool = Pool(Capacity(processors=(Processor(units=3), Processor(units=2, name="fast"))))
    twice = Capacity(processors=(Processor(units=2), Processor(units=2)))
    granted = []
    while pool.fits_now(twice):
        granted.append(pool.reserve(twice))
    assert [sum(len(ids) for _, ids in one.units) for one in granted if one is not None] == [4]
    assert pool.reserve(twice) is None
    assert pool.free() == 1


def test_answers_are_remembered_and_bounded() -> None:
    """However many demands are asked about."""
    pool = Pool(cores(4))
    demands = [cores(1, memory_mib=number) for number in range(3000)]
    assert all(pool.fits_now(demand) and pool.could_fit(demand) for demand in demands)
    assert len(pool._answers) <= 1024
    assert len(pool._possible) <= 1024


def test_figures_of_what_is_added_complete_what_is_there() -> None:
    """Labels and software join, the larger storage counts."""
    pool = Pool(Capacity(storage_gb=1.0, software=frozenset({"A"})))
    pool.add(
        Capacity(storage_gb=5.0, os_type="Linux", software=frozenset({"B"}), labels=frozenset({"x"}), memory_mib=4)
    )
    assert pool.capacity.storage_gb == 5.0
    assert pool.capacity.software == {"A", "B"}
    assert pool.capacity.os_type == "Linux"
    assert pool.capacity.memory_mib is None
    assert Reservation((), 0).ids(Kind.CPU) == ()
    assert Slot(Processor(units=1), [0], 1).owed == 0


# --- after a crash ----------------------------------------------------------------------------------------------


def restored(*entries: object, outcomes: dict[int, Outcome] | None = None, rules: Rules | None = None) -> Desk:
    """Give a desk whose engine has taken up these entries."""
    desk = Desk(1, rules=rules)
    desk.now = 100.0
    desk.engine.restore(fold([Booted("boot-0", 1, 90.0, "0"), *entries]), outcomes or {}, desk.now)
    desk.turn()
    return desk


def test_the_pool_of_neighbours_is_taken_up() -> None:
    """They are dialled; our own entry is for whoever makes the engine."""
    capacity = msgspec.json.encode(cores(3))
    desk = restored(HostAdded("own", capacity), HostAdded("n", capacity, "comm", (("Host", "h"),), is_parent=True))
    assert desk.one(c.OpenLink).neighbour == "n"
    row = desk.state.neighbourhood.get("n")
    assert (row.granted.units(), row.is_parent, row.is_pooled) == (3, True, True)


def test_what_waited_goes_on_and_what_ran_is_another_attempt() -> None:
    """With the arguments that were recorded."""
    desk = restored(Accepted(1, PLAIN, Payload(), 1.0, 1.0), Accepted(2, PLAIN, Payload(), 2.0, 2.0), Started((1,)))
    assert [(task.id, task.attempt) for task in desk.state.tasks.values()] == [(1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("template", "starts", "payload", "status"),
    [
        (Template("m:o", durable=True, idempotent=False), 1, Payload(), Status.LOST_UNKNOWN),
        (PLAIN, 3, Payload(), Status.QUARANTINED),
        (PLAIN, 0, Payload(1, b"", (Part(3, None, 7),)), Status.LOST_UNKNOWN),
    ],
)
def test_what_must_not_run_again_ends(template: Template, starts: int, payload: Payload, status: Status) -> None:
    """In doubt, too often, or without its arguments."""
    desk = restored(Accepted(1, template, payload, 1.0, 1.0), *[Started((1,))] * starts)
    desk.commit()
    assert desk.state.ledger.operations[1].status == status
    assert desk.state.tasks == {}


def test_what_a_neighbour_had_is_asked_for_under_the_same_attempt() -> None:
    """And believed in for one lease."""
    desk = restored(Accepted(1, PLAIN, Payload(), 1.0, 1.0), Started((1,), "n", 3))
    task = desk.state.tasks[1]
    assert (task.state, task.host, task.attempt) == (State.OFFERED, "n", 1)
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK))
    assert [offer.attempt for offer in desk.one(c.SendOffers).offers] == [1]
    desk = restored(Accepted(1, PLAIN, Payload(), 1.0, 1.0), Started((1,), "n", 3))
    desk.turn(e.Ticked(), after_s=5.0)
    assert desk.state.tasks[1].attempt == 2


def test_what_was_cancelled_stays_so_also_where_it_was() -> None:
    """Its holder is told when it is back."""
    desk = restored(Accepted(1, PLAIN, Payload(), 1.0, 1.0), Started((1,), "n"), Cancelling(1))
    desk.commit()
    assert desk.state.ledger.operations[1].status == Status.CANCELLED
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK))
    assert desk.one(c.CancelTasks).tasks == ((1, 1),)


def test_a_neighbours_task_that_ran_goes_back_to_it() -> None:
    """Whoever counts the attempts decides; what had not started waits, for a while."""
    path = Path("n", "n", 1, ("id-n",))
    desk = restored(
        Accepted(1, PLAIN, Payload(), 1.0, 1.0, path=path),
        Accepted(2, PLAIN, Payload(), 1.0, 1.0, path=path),
        Started((1,)),
        rules=Rules(orphan_ttl_s=20.0),
    )
    desk.commit()
    assert desk.state.ledger.operations[1].status == Status.LOST_UNKNOWN
    assert [end.task for end in desk.one(c.SendEnds).ends] == [1]
    assert desk.state.tasks[2].state is State.RUNNING
    desk.turn(e.Ticked(), after_s=20.0)
    assert desk.state.tasks[2].state is State.STOPPING


def test_ends_that_were_not_confirmed_are_told_over_the_first_link() -> None:
    """Those that were are not."""
    path = Path("n", "n", 1, ("id-n",))
    entries = [Accepted(number, PLAIN, Payload(), 1.0, 1.0, path=path) for number in (1, 2)]
    entries += [Ended(number, Outcome(0, Payload(3, b"r")), 2.0, 2.0) for number in (1, 2)]
    desk = restored(*entries, Delivered((2,)), outcomes={1: Outcome(0, Payload(3, b"r")), 2: Outcome()})
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK))
    assert [end.task for end in desk.one(c.SendEnds).ends] == [1]


def test_a_callback_that_was_not_made_is_made() -> None:
    """At least once."""
    entries = [Accepted(1, PLAIN, Payload(), 1.0, 1.0, callback="http://x"), Ended(1, Outcome(), 2.0, 2.0)]
    assert restored(*entries).one(c.CallBack).url == "http://x"


def test_ended_operations_expire_by_themselves() -> None:
    """Now and ever again, a batch at a time, also those that a neighbour never confirmed."""
    entries: list[object] = []
    for number in range(1, 2501):
        path = Path("n", "n", 1, ("id-n",)) if number == 1 else HERE
        entries += [Accepted(number, PLAIN, Payload(), 1.0, 1.0, path=path), Ended(number, Outcome(), 2.0, 2.0)]
    desk = restored(
        *entries,
        outcomes={1: Outcome(0, Payload(1, b"", (Part(1, None, 5),)))},
        rules=Rules(retention=Retention(age_s=50.0)),
    )
    assert len(desk.state.ledger.operations) == 2500
    desk.turn(e.Ticked(), after_s=25 * 3600.0)
    kept = [len(desk.state.ledger.operations)]
    assert desk.one(c.ReleaseSegments).segments == (5,)
    for _ in range(3):
        desk.turn(e.Ticked(), after_s=0.1)
        kept.append(len(desk.state.ledger.operations))
    assert kept == [1500, 500, 0, 0]
    assert desk.state.neighbourhood.get("n").ends_unacknowledged == {}
    assert desk.engine.next_wakeup > desk.now + 50


def test_too_many_ended_operations_go_before_the_next_sweep() -> None:
    """A busy agent does not wait a minute."""
    desk = Desk(1, rules=Rules(retention=Retention(most=10)))
    for number in range(1, 41):
        desk.submit(caller=number)
        desk.end(1, number)
        desk.commit()
        desk.turn(e.ResultRead(number))
        desk.turn()
    assert len(desk.state.ledger.operations) <= 11


def test_an_engine_is_made_with_its_defaults() -> None:
    """Rules are optional, and nothing is wanted of a new agent."""
    engine = Engine(Identity("a", "id", "b", 1), cores(1), load("fifo"), itertools.count(1))
    assert engine.next_wakeup is None
    assert engine.drain(0.0) == []
    assert len(Timers()) == 0
    assert CALL.durable is False
