"""Two agents that meet again and say what each holds of the other's tasks."""

from __future__ import annotations

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.tasks.task import State
from agentd.model.exchange import Refusal
from agentd.model.task import Status, Template
from schedulers.capacity import Capacity
from tests.unit.core.engine_desk import CALL, LINK, Desk

TASK = 5_000_001
AGAIN = LINK + 1
ONCE = Template("m:once", durable=True, idempotent=False)


def met_again(desk: Desk, boot: str = "b1") -> None:
    """Open a new link of a version in which both ends tell their inventory."""
    desk.turn(e.LinkOpened("n", "id-n", boot, AGAIN, compares=True))


def told(desk: Desk, held: tuple = (), finished: tuple = (), *, is_complete: bool = True) -> None:
    """Let the neighbour tell its inventory."""
    desk.turn(e.InventoryReceived("n", AGAIN, held, finished, is_complete))


def giving(template: Template | None = None, *, is_accepted: bool = True) -> Desk:
    """Give a desk whose neighbour was offered task 1."""
    desk = Desk(0)
    desk.neighbour("n", 2)
    desk.submit(*filter(None, [template]))
    desk.commit()
    if is_accepted:
        desk.turn(e.OffersAnswered("n", ((1, 1, 1),)))
    return desk


@pytest.mark.parametrize("boot", ["b1", "b2"])
@pytest.mark.parametrize("is_accepted", [False, True])
def test_what_it_holds_goes_on(boot: str, is_accepted: bool) -> None:
    """Under the same attempt, without being offered again, also when its acceptance was lost or it has restarted."""
    desk = giving(is_accepted=is_accepted)
    met_again(desk, boot)
    assert desk.of(c.SendOffers) == []
    told(desk, held=((1, 1),))
    assert (desk.state.tasks[1].state, desk.state.tasks[1].attempt) == (State.FORWARDED, 1)
    assert desk.of(c.SendOffers) == []


def test_what_has_ended_there_is_waited_for() -> None:
    """Its end is told over the same link, right behind the inventory."""
    desk = giving()
    met_again(desk, "b2")
    told(desk, finished=((1, 1),))
    assert (desk.state.tasks[1].attempt, desk.of(c.CancelTasks)) == (1, [])


def test_an_offer_that_never_came_there_is_made_again() -> None:
    """Under the same attempt: nothing was started."""
    desk = giving(is_accepted=False)
    met_again(desk)
    told(desk)
    assert [(one.task, one.attempt) for one in desk.one(c.SendOffers).offers] == [(1, 1)]


def test_what_was_accepted_and_is_not_there_is_another_attempt() -> None:
    """It was handed back, and the word was lost; or it was lost with a crash."""
    for boot in ("b1", "b2"):
        desk = giving()
        met_again(desk, boot)
        told(desk)
        assert desk.state.tasks[1].attempt == 2


def test_what_may_run_once_and_is_not_there_is_in_doubt() -> None:
    """Nobody knows whether it ran."""
    desk = giving(ONCE)
    met_again(desk, "b2")
    told(desk)
    desk.commit()
    assert desk.state.ledger.operations[1].status == Status.LOST_UNKNOWN


def test_a_crash_is_remembered_until_all_was_told() -> None:
    """The link may break again in between: an offer of before the crash is not taken for one that never came."""
    desk = giving(is_accepted=False)
    met_again(desk, "b2")
    desk.turn(e.LinkOpened("n", "id-n", "b2", AGAIN + 1, compares=True))
    desk.turn(e.InventoryReceived("n", AGAIN + 1, (), ()))
    assert desk.state.tasks[1].attempt == 2


def test_nothing_is_decided_before_all_was_told() -> None:
    """An inventory may come in several messages; those of an older link do not count."""
    desk = giving()
    met_again(desk)
    told(desk, is_complete=False)
    desk.turn(e.InventoryReceived("n", LINK, (), ()))
    assert desk.state.tasks[1].attempt == 1
    told(desk, held=((1, 1),))
    assert desk.state.tasks[1].attempt == 1


def test_what_was_given_up_and_waits_is_taken_up_where_it_is() -> None:
    """Under the newer attempt: running there, or ended there."""
    for told_as in ("held", "finished"):
        desk = giving()
        desk.turn(e.LinkOpened("n", "id-n", "b2", LINK + 5))
        desk.turn(e.LinkClosed("n", LINK + 5, "reset"))
        assert desk.state.tasks[1].attempt == 2
        met_again(desk, "b2")
        desk.state.queue.take(desk.state.tasks[1]) if desk.state.tasks[1].state is State.WAITING else None
        told(desk, **{told_as: ((1, 1),)})
        assert (desk.state.tasks[1].attempt, desk.state.tasks[1].host) == (2, "n")
        assert desk.of(c.CancelTasks) == []


def test_what_nobody_wants_any_more_is_stopped_there() -> None:
    """It has ended here meanwhile, or was never known here; of what has ended there nothing needs to be said."""
    desk = Desk(1)
    desk.neighbour("n", 1)
    met_again(desk)
    told(desk, held=((77, 1), (78, 2)), finished=((79, 1),))
    assert desk.one(c.CancelTasks).tasks == ((77, 1), (78, 2))


def test_what_is_being_stopped_is_told_so_again_or_has_ended() -> None:
    """Depending on whether it is there."""
    for held, cancelled in ((((1, 1),), ((1, 1),)), ((), None)):
        desk = giving()
        desk.turn(e.CancelRequested(7, 1))
        met_again(desk)
        told(desk, held=held)
        assert [one.tasks for one in desk.of(c.CancelTasks)] == ([cancelled] if cancelled else [])
        desk.commit()
        assert (desk.state.ledger.operations[1].status == Status.CANCELLED) == (cancelled is None)


def test_what_waits_for_the_disk_is_offered_when_it_is_there() -> None:
    """A task that may run only once has not left yet: no inventory can name it, and it is not lost."""
    desk = Desk(0)
    desk.neighbour("n", 2)
    desk.turn(e.OperationSubmitted(50, ONCE, payload_of_nothing()))
    accepted = desk.engine.state.outbox.number
    desk.turn(e.Committed(accepted))
    assert desk.of(c.SendOffers) == []
    met_again(desk)
    told(desk)
    assert desk.of(c.SendOffers) == []
    desk.commit()
    assert [(one.task, one.attempt) for one in desk.one(c.SendOffers).offers] == [(1, 1)]


def payload_of_nothing():
    """Give arguments for a function that takes none."""
    from agentd.model.values import Payload

    return Payload()


# --- the holder's side ------------------------------------------------------------------------------------------


def test_the_holder_names_what_runs_and_what_has_ended() -> None:
    """Before it tells the ends again."""
    desk = Desk(1)
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK)
    desk.offer(TASK + 1, CALL)
    desk.commit()
    desk.end(1, TASK)
    desk.commit()
    met_again(desk)
    inventory = desk.one(c.SendInventory)
    assert (inventory.held, inventory.finished) == (((TASK + 1, 1),), ((TASK, 1),))
    kinds = [type(command) for command in desk.commands]
    assert kinds.index(c.SendInventory) < kinds.index(c.SendEnds)


def test_what_is_not_accepted_yet_is_not_named() -> None:
    """A promise that is not on the disk is none."""
    desk = Desk(1)
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK, Template("m:f", durable=True))
    met_again(desk)
    assert desk.one(c.SendInventory).held == ()


def test_who_comes_back_wants_what_it_does_not_cancel() -> None:
    """Work for a neighbour that was away is no orphan any more."""
    desk = Desk(1)
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK)
    desk.commit()
    desk.state.ledger.operations[TASK].orphan_since = 0.0
    met_again(desk, "b2")
    assert desk.state.ledger.operations[TASK].orphan_since is None


def test_work_that_is_to_be_kept_goes_on_without_its_giver() -> None:
    """`on_orphan` KEEP: its result is kept until the giver comes for it."""
    for on_orphan, state in (("STOP", State.STOPPING), ("KEEP", State.RUNNING)):
        desk = Desk(1)
        desk.neighbour("n", 0, is_pooled=False)
        desk.offer(TASK, Template("m:f", durable=True, on_orphan=on_orphan))
        desk.commit()
        desk.turn(e.LinkClosed("n", LINK, "reset"))
        for _ in range(3):
            desk.turn(e.Ticked(), after_s=max((desk.engine.next_wakeup or 0.0) - desk.now, 0.0))
        desk.turn(e.Ticked(), after_s=desk.state.rules.orphan_ttl_s)
        assert desk.state.tasks[TASK].state is state


# --- who leaves -------------------------------------------------------------------------------------------------


def test_who_says_that_it_leaves_is_given_nothing_more() -> None:
    """What it holds may end there; a new link begins anew."""
    desk = giving()
    desk.turn(e.NeighbourDraining("n", LINK, "its agent is stopping"))
    desk.submit(caller=51)
    assert desk.of(c.SendOffers) == []
    row = desk.state.neighbourhood.get("n")
    assert row.objection(desk.state.tasks[2]) == "its link is draining: its agent is stopping"
    desk.turn(e.NeighbourDraining("stranger", LINK, "who"), e.NeighbourDraining("n", 99, "an older link"))
    met_again(desk)
    assert desk.state.tasks[2].host == "n"


def test_an_agent_that_stops_says_so_to_all_that_it_can_reach() -> None:
    """Not to those that it cannot."""
    desk = Desk(1)
    desk.neighbour("n", 1)
    desk.turn(e.ResourceAdded(0, "far", Capacity(), "comm", declared=False))
    desk.turn(e.DrainRequested(3.0))
    assert [(one.neighbour, one.grace_s) for one in desk.of(c.SendDrain)] == [("n", 3.0)]


def test_who_is_removed_is_told_and_let_go_when_both_hold_nothing() -> None:
    """Its work here ends and is confirmed first; meanwhile nothing new of it is taken."""
    desk = Desk(1)
    desk.neighbour("n", 1)
    desk.offer(TASK)
    desk.commit()
    desk.turn(e.ResourceRemoved(5, "n"))
    assert desk.one(c.SendDrain).neighbour == "n"
    desk.offer(TASK + 1)
    assert "lets the link go" in desk.one(c.AnswerOffers).refused[0].reason
    desk.end(1, TASK)
    desk.commit()
    assert desk.of(c.CloseLink) == []
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    assert desk.of(c.CloseLink) or desk.turn(e.Ticked(), after_s=0.3)
    assert [one.neighbour for one in desk.of(c.CloseLink)] == ["n"]


def test_who_does_not_take_what_is_sent_to_it_is_lost_at_once() -> None:
    """It was given half a minute already: what it holds is tried elsewhere."""
    desk = giving()
    desk.turn(e.LinkClosed("n", LINK, "it does not read", "slow"))
    assert desk.state.tasks[1].attempt == 2
    assert desk.state.neighbourhood.get("n").orphans == {1: 1}


def test_a_task_that_comes_back_is_placed_anew() -> None:
    """The neighbour had accepted it and did not start it: the same attempt goes elsewhere."""
    desk = giving()
    desk.turn(e.OffersAnswered("n", (), (), (Refusal(1, 1, "it runs out of cores"),)))
    assert (desk.state.tasks[1].state, desk.state.tasks[1].attempt) == (State.WAITING, 1)


def test_what_comes_back_while_it_is_offered_anew_is_where_the_offer_is() -> None:
    """An acceptance over an earlier link was undone, and crosses the offer over this one, which is still answered."""
    desk = giving(is_accepted=False)
    desk.turn(e.LinkOpened("n", "id-n", "b1", AGAIN))
    assert [one.task for one in desk.one(c.SendOffers).offers] == [1]
    desk.turn(e.OffersAnswered("n", (), (), (Refusal(1, 1, "it runs out of cores"),)))
    assert (desk.state.tasks[1].state, desk.state.tasks[1].host) == (State.OFFERED, "n")
    desk.turn(e.OffersAnswered("n", ((1, 1, 1),)))
    assert desk.state.tasks[1].state is State.FORWARDED
