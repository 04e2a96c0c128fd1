"""Links and leases: believed in for a while, lost, back again; and what of their work goes on or stops."""

from __future__ import annotations

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.neighbours.neighbour import LinkState
from agentd.core.state import Rules
from agentd.core.tasks.task import State
from agentd.model.exchange import End, Report
from agentd.model.task import Outcome, Status, Template
from schedulers.capacity import Capacity, cores
from schedulers.view import Tier
from tests.unit.core.engine_desk import CALL, LINK, PLAIN, Desk

TASK = 5_000_001


def giving() -> Desk:
    """Give a desk whose neighbour has one task of it."""
    desk = Desk(0)
    desk.neighbour("n", 2)
    desk.submit()
    desk.turn(e.OffersAnswered("n", ((1, 1, 1),)))
    return desk


def row(desk: Desk):
    """Give the neighbour."""
    found = desk.state.neighbourhood.get("n")
    assert found is not None
    return found


def silent(desk: Desk, seconds: float) -> None:
    """Let time pass as an agent does that is awake: it is woken when it wants to be."""
    end = desk.now + seconds
    while (due := desk.engine.next_wakeup) is not None and due <= end:
        desk.turn(e.Ticked(), after_s=max(due - desk.now, 0.0))
    desk.turn(e.Ticked(), after_s=end - desk.now)


def test_a_silent_neighbour_is_lost_when_its_lease_ends() -> None:
    """Suspect three seconds after its last sign of life and lost after five, however its connection looks."""
    desk = giving()
    desk.turn(e.NeighbourHeard("n", 0.002, 1e-8, 0.0), after_s=3.0)
    desk.turn(e.Ticked(), after_s=2.1)
    assert row(desk).state is LinkState.CONNECTED
    assert desk.engine.next_wakeup == 6.0
    desk.turn(e.Ticked(), after_s=0.9)
    assert row(desk).state is LinkState.SUSPECT
    assert desk.engine.next_wakeup == 8.0
    desk.turn(e.Ticked(), after_s=2.0)
    assert row(desk).state is LinkState.LOST
    assert desk.one(c.CloseLink).redial
    assert desk.state.tasks[1].attempt == 2


def test_who_was_let_go_is_not_missed() -> None:
    """Nobody is alarmed when the lease of one ends that is not in the pool, holds nothing of ours, and gave nothing."""
    desk = Desk(0)
    desk.neighbour("n", 2)
    desk.neighbour("far", 0, link=LINK + 2, is_pooled=False)
    desk.turn(e.LinkClosed("n", LINK, "reset"), e.LinkClosed("far", LINK + 2, "reset"))
    alarms: list[c.Alarm] = []
    while any(row.state is not LinkState.LOST for row in desk.state.neighbourhood.by_name.values()):
        assert desk.engine.next_wakeup is not None
        desk.turn(e.Ticked(), after_s=max(desk.engine.next_wakeup - desk.now, 0.0))
        alarms += desk.of(c.Alarm)
    assert [alarm.detail["neighbour"] for alarm in alarms] == ["n"]


def test_a_cut_does_not_lengthen_the_lease() -> None:
    """It counts from the last sign of life, not from the cut."""
    desk = giving()
    desk.turn(e.LinkClosed("n", LINK, "reset"), after_s=3.0)
    assert row(desk).state is LinkState.CUT
    desk.turn(e.Ticked(), after_s=2.0)
    assert row(desk).state is LinkState.LOST


def test_a_suspect_is_given_nothing_until_it_is_heard_of() -> None:
    """Work that comes up meanwhile waits, and says why; a sign of life, or a report, brings it there."""
    report = Report(1, 2, 1, (Tier(1.0, 2.0, 2.0, 2.0, 0.0),), cores(2))
    for sign in (e.NeighbourHeard("n", 0.002, 1e-8, 0.0), e.LoadReported("n", report)):
        desk = giving()
        desk.turn(e.Ticked(), after_s=3.0)
        desk.submit(caller=51)
        assert desk.of(c.SendOffers) == []
        assert row(desk).objection(desk.state.tasks[2]) == "its link is suspect: no news for 3 s"
        desk.turn(sign)
        assert row(desk).state is LinkState.CONNECTED
        assert [offer.task for offer in desk.one(c.SendOffers).offers] == [2]


def test_who_overslept_reads_first_what_was_said_meanwhile() -> None:
    """A watch that comes far too late blames itself."""
    desk = giving()
    desk.turn(e.Ticked(), after_s=60.0)
    assert row(desk).state is LinkState.CONNECTED
    desk.turn(e.NeighbourHeard("n", 0.002, 1e-8, 0.0))
    desk.turn(e.Ticked(), after_s=1.0)
    assert row(desk).state is LinkState.CONNECTED
    desk.turn(e.Ticked(), after_s=2.0)
    desk.turn(e.Ticked(), after_s=2.0)
    assert row(desk).state is LinkState.LOST


def test_events_of_old_connections_and_strangers_are_passed_over() -> None:
    """Only the present link counts."""
    desk = giving()
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    desk.turn(
        e.LinkClosed("n", LINK, "replaced"),
        e.LinkClosed("stranger", 5, "who"),
        e.NeighbourHeard("stranger", 0.1, 0.0, 0.0),
        e.LoadReported("stranger", Report()),
    )
    assert row(desk).state is LinkState.CONNECTED
    assert list(desk.state.neighbourhood.by_name) == ["n"]


def test_a_dial_that_fails_says_why_the_neighbour_is_not_there() -> None:
    """Once for each reason, and does not make it lost before it was ever there."""
    desk = Desk(0)
    desk.turn(e.ResourceAdded(0, "n", cores(1), "comm"))
    desk.turn(e.LinkClosed("n", 0, "connection refused"))
    assert row(desk).state is LinkState.CONNECTING
    assert row(desk).why_not == "connection refused"
    assert desk.one(c.Publish).detail == {"state": "connecting", "reason": "connection refused"}
    desk.turn(e.LinkClosed("n", 0, "connection refused"))
    assert desk.of(c.Publish) == []
    desk.turn(e.Ticked(), after_s=60.0)
    assert row(desk).state is LinkState.CONNECTING


def test_the_same_boot_within_the_lease_goes_on() -> None:
    """Accepted tasks are not offered again, unanswered ones are."""
    desk = giving()
    desk.submit(caller=51)
    desk.turn(e.LinkClosed("n", LINK, "reset"))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1), after_s=2.0)
    assert [offer.task for offer in desk.one(c.SendOffers).offers] == [2]
    assert desk.state.tasks[1].attempt == 1


def test_the_same_boot_after_the_lease_takes_up_what_waits_and_stops_the_rest() -> None:
    """What has found another host meanwhile is not wanted any more."""
    desk = giving()
    desk.submit(Template("m:g", durable=True), caller=51)
    desk.turn(e.OffersAnswered("n", ((2, 1, 1),)))
    desk.turn(e.LinkClosed("n", LINK, "reset"))
    silent(desk, 5.0)
    desk.turn(e.CancelRequested(7, 2))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    assert [(offer.task, offer.attempt) for offer in desk.one(c.SendOffers).offers] == [(1, 2)]
    assert desk.one(c.CancelTasks).tasks == ((2, 1),)
    assert row(desk).orphans == {}


def test_another_boot_has_lost_what_it_had() -> None:
    """At once, and it is told to drop what it may have restored."""
    desk = giving()
    row(desk).received_sequence = 9
    desk.turn(e.LinkOpened("n", "id-n", "b2", LINK + 1))
    assert desk.state.tasks[1].attempt == 2
    assert desk.one(c.CancelTasks).tasks == ((1, 1),)
    assert row(desk).received_sequence == 0


def test_a_task_that_was_being_stopped_is_stopped_when_its_holder_is_lost() -> None:
    """It does not run anywhere else."""
    desk = giving()
    desk.turn(e.CancelRequested(7, 1))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    assert desk.one(c.CancelTasks).tasks == ((1, 1),)
    desk.turn(e.LinkOpened("n", "id-n", "b2", LINK + 2))
    desk.commit()
    assert desk.state.ledger.operations[1].status == Status.CANCELLED


def test_work_for_a_neighbour_that_stays_away_stops() -> None:
    """After a while; not when it came back and was lost anew in between."""
    desk = Desk(2, rules=Rules(orphan_ttl_s=20.0))
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK)
    desk.commit()
    desk.turn(e.LinkClosed("n", LINK, "reset"))
    silent(desk, 5.0)
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1), after_s=10.0)
    assert desk.state.ledger.operations[TASK].orphan_since is None
    desk.turn(e.LinkClosed("n", LINK + 1, "reset"))
    silent(desk, 5.0)
    desk.turn(e.Ticked(), after_s=10.0)
    assert desk.state.tasks[TASK].state is State.RUNNING
    desk.turn(e.Ticked(), after_s=10.0)
    assert desk.state.tasks[TASK].state is State.STOPPING


def test_who_restarts_has_forgotten_its_sessions_and_may_ask_for_the_rest() -> None:
    """Its calls are stopped at once, its operations when they are not asked for again."""
    desk = Desk(3, rules=Rules(orphan_ttl_s=20.0))
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK)
    desk.offer(TASK + 1)
    desk.offer(TASK + 2, CALL)
    desk.commit()
    desk.turn(e.LinkOpened("n", "id-n", "b2", LINK + 1))
    assert desk.state.tasks[TASK + 2].state is State.STOPPING
    desk.offer(TASK, link=LINK + 1)
    desk.turn(e.NeighbourHeard("n", 0.1, 0.0, 0.0), e.Ticked(), after_s=4.0)
    for _ in range(4):
        desk.turn(e.NeighbourHeard("n", 0.1, 0.0, 0.0), e.Ticked(), after_s=4.0)
    assert desk.state.tasks[TASK].state is State.RUNNING
    assert desk.state.tasks[TASK + 1].state is State.STOPPING


def test_ends_are_told_again_over_each_new_link() -> None:
    """Until they are confirmed."""
    desk = Desk(1)
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK)
    desk.end(1, TASK)
    desk.commit()
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    assert [end.task for end in desk.one(c.SendEnds).ends] == [TASK]
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 2))
    assert desk.of(c.SendEnds) == []


def test_a_neighbour_that_is_added_again_while_it_is_cut_still_has_a_lease() -> None:
    """What it holds must come back."""
    desk = giving()
    desk.turn(e.LinkClosed("n", LINK, "reset"), e.ResourceRemoved(0, "n"))
    desk.turn(e.ResourceAdded(0, "n", Capacity(), "comm", declared=False))
    assert row(desk).state is LinkState.CONNECTING
    silent(desk, 5.0)
    assert row(desk).held == {}


def test_a_known_one_may_move_and_keeps_what_it_was_granted() -> None:
    """Its link is sought at the new address; its capacity is what the operator said of it, or it reports itself."""
    desk = Desk(1)
    for declared, units in ((True, 2), (False, 0)):
        name = f"n{units}"
        desk.turn(e.ResourceAdded(5, name, cores(units), "comm", (("Host", "x"),), declared=declared))
        desk.turn(e.ResourceAdded(6, name, Capacity(), "comm", (("Host", "x"),)))
        assert desk.of(c.OpenLink) == []
        desk.turn(e.ResourceAdded(7, name, Capacity(), "comm", (("Host", "y"),)))
        assert desk.one(c.OpenLink).properties == (("Host", "y"),)
        row = desk.state.neighbourhood.get(name)
        assert (row.granted.units(), row.declared) == (units, declared)
        assert desk.one(c.Record).entry.properties == (("Host", "y"),)


# --- draining ---------------------------------------------------------------------------------------------------


def test_draining_hands_back_what_waits_also_later_and_waits_for_ends() -> None:
    """What comes back during the drain goes back too; the last end is confirmed before the stop."""
    desk = Desk(1)
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK)
    desk.offer(TASK + 1)
    desk.offer(TASK + 2, CALL)
    desk.commit()
    desk.turn(e.DrainRequested(30.0), e.DrainRequested(20.0))
    assert [one.task for one in desk.one(c.AnswerOffers).refused] == [TASK + 1, TASK + 2]
    desk.end(1, TASK)
    desk.commit()
    assert desk.of(c.Stop) == []
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    desk.commit()
    assert desk.of(c.Stop)


def test_the_stop_comes_after_all_that_is_told_in_the_same_batch() -> None:
    """A session learns of its last call before the daemon, and its shared memory, go."""
    desk = Desk(1)
    caller = desk.open_session(CALL)
    desk.call(caller, 1)
    desk.turn(e.DrainRequested(30.0))
    desk.end(1, 1)
    kinds = [type(command) for command in desk.commands]
    assert kinds[-1] is c.Stop
    assert c.SettleCalls in kinds


def test_draining_ends_with_its_grace_whatever_runs() -> None:
    """And everything that was recorded is on the disk."""
    desk = Desk(1)
    desk.submit()
    desk.turn(e.DrainRequested(3.0))
    assert desk.of(c.Stop) == []
    desk.turn(e.Ticked(), after_s=3.0)
    assert desk.of(c.Stop) or desk.commit()
    assert desk.of(c.Stop)


def test_draining_does_not_wait_for_what_the_journal_has() -> None:
    """Neighbours go on with it, and are asked for it after the start; calls of sessions are waited for."""
    desk = giving()
    desk.turn(e.DrainRequested(30.0))
    assert desk.of(c.Stop)
    desk = Desk(0)
    desk.neighbour("n", 2)
    desk.call(desk.open_session(CALL), 1)
    desk.turn(e.DrainRequested(30.0))
    assert desk.of(c.Stop) == []
    desk.turn(e.EndsReceived("n", [End(1, 1, 0, Outcome())]))
    desk.commit()
    assert desk.of(c.Stop)


def test_what_cannot_be_handed_back_stays() -> None:
    """Its sender is away: the journal keeps it."""
    desk = Desk(0)
    desk.neighbour("n", 0, is_pooled=False)
    desk.neighbour("far", 1, link=LINK + 1)
    desk.offer(TASK, Template("m:f", durable=True))
    desk.commit()
    desk.turn(e.LinkOpened("far", "id-far", "b9", LINK + 2))
    desk.turn(e.LinkClosed("n", LINK, "reset"), e.LinkClosed("far", LINK + 2, "reset"), e.DrainRequested(30.0))
    assert PLAIN.durable
    assert desk.of(c.AnswerOffers) == []


# --- small things -----------------------------------------------------------------------------------------------


def test_an_idle_agent_is_woken_by_leases_alone() -> None:
    """Seldom, although its neighbours are alive and say so every second; and it tells them nothing."""
    desk = Desk(1)
    desk.neighbour("n", 1)
    desk.neighbour("m", 1, link=LINK + 1)
    for _ in range(10):
        desk.turn(e.Ticked(), after_s=0.3)
    wanted = set()
    for _ in range(20):
        desk.turn(e.NeighbourHeard("n", 0.1, 0.0, 0.0), after_s=0.995)
        desk.turn(e.NeighbourHeard("m", 0.1, 0.0, 0.0), after_s=0.005)
        wanted.add(desk.engine.next_wakeup)
        assert desk.of(c.SendReport) == []
    assert len(wanted) <= 2 * 20 / 3 + 1


def test_reports_are_told_no_more_often_than_they_are_worth() -> None:
    """Edges after 0.2 s, changes after a second, nothing when there is nothing new."""
    desk = Desk(4)
    desk.neighbour("n", 1)
    told = 0
    caller = desk.open_session(CALL)
    for ref in range(400):
        desk.call(caller, ref)
        told += len(desk.of(c.SendReport))
        for line in list(desk.state.crew.lines.values()):
            if line.tasks:
                desk.turn(e.TasksEnded(line.worker, [e.TaskResult(line.tasks[0].id, 0, seconds=0.01)]), after_s=0.005)
                told += len(desk.of(c.SendReport))
    assert told <= desk.now / 0.2 + 3


def test_a_neighbour_is_told_apart_what_is_this_agents_own() -> None:
    """Beside the sum of this side of the link; what nobody can have is not believed of a neighbour's own either."""
    desk = Desk(4)
    desk.neighbour("n", 3)
    tree = {"root": "", "distance": 0}
    told = Report(
        1, 1, 0, (Tier(1.0, 9.0, 9.0, 9.0, 0.0),), cores(3), own=Tier(1.0, float("nan"), 3.0, 3.0, 0.0), **tree
    )
    desk.turn(e.LoadReported("n", told))
    assert desk.state.neighbourhood.get("n").report.own is None
    desk.neighbour("m", 1, link=LINK + 1)
    said = [one.report for one in desk.turn(e.Ticked(), after_s=2.0) if type(one) is c.SendReport]
    assert said
    assert {report.own.cores for report in said} == {4.0}


def test_the_disk_and_the_clock_are_told() -> None:
    """Alarms for the operator, and wall time for people."""
    desk = Desk(1)
    desk.turn(e.DiskFilled("no space"), e.ClockRead(1000.0))
    assert "disk is full" in desk.one(c.Alarm).message
    assert desk.state.wall(5.0) == 1005.0
    desk.turn(e.DiskFreed())
    assert "room again" in desk.one(c.Alarm).message
    desk.turn(e.ModulesListed(frozenset({"m"})))
    assert desk.state.modules == {"m"}
    assert Outcome().status == Status.DONE
