"""What is given to neighbours: offered, refused, ended, lost; what a liar cannot do; and the row of a neighbour."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.journal.entries import Ended, Returned, Started
from agentd.core.neighbours.exchange import DECLARED_MOST
from agentd.core.neighbours.loads import believable
from agentd.core.neighbours.neighbour import LinkState
from agentd.core.tasks.task import Path
from agentd.model.errors import RequestError
from agentd.model.exchange import End, Refusal, Report
from agentd.model.task import Constraints, Failure, Outcome, Reason, Status, Template
from agentd.model.values import Part, Payload, Remote
from schedulers.capacity import Capacity, cores
from schedulers.view import Tier
from tests.unit.core.engine_desk import CALL, LINK, Desk, row

DEATH = Failure(Reason.SIGNAL, "WorkerDied", "signal 11")
TASK = 5_000_001


def giving(units: int = 2, own: int = 0) -> Desk:
    """Give a desk with a neighbour that it may offload to."""
    desk = Desk(own)
    desk.neighbour("n", units)
    return desk


def test_a_template_is_told_once_for_each_link_and_again_when_there_were_many() -> None:
    """The other end remembers at least so many."""
    desk = giving()
    caller = desk.open_session(CALL)
    desk.call(caller, 1)
    assert desk.of(c.DeclareTemplates)
    desk.call(caller, 2)
    assert desk.of(c.SendOffers)
    assert desk.of(c.DeclareTemplates) == []
    row = desk.state.neighbourhood.get("n")
    row.declared_shapes = set(range(10, 10 + DECLARED_MOST))
    desk.turn(e.OffersAnswered("n", (), (Refusal(1, 1, "no"), Refusal(2, 1, "no"))))
    desk.turn(e.Ticked(), after_s=1.0)
    assert desk.of(c.DeclareTemplates)
    assert len(row.declared_shapes) == 1


def test_offers_say_where_a_task_has_been() -> None:
    """Origin, hops and all agents on the way."""
    desk = Desk(0)
    desk.neighbour("n", 0, is_pooled=False)
    desk.neighbour("m", 1, link=LINK + 1)
    desk.offer(TASK, CALL, hops=2, visited=("id-x", "id-n"), origin="id-x")
    (offer,) = desk.one(c.SendOffers).offers
    assert (offer.origin, offer.hops, offer.visited) == ("id-x", 3, ("id-x", "id-n", "id-own"))


def test_what_may_run_only_once_is_offered_when_its_start_is_on_the_disk() -> None:
    """And not over a new link before that; nor at all when it was cancelled meanwhile."""
    desk = giving()
    desk.submit(Template("m:o", durable=True, idempotent=False))
    assert desk.of(c.SendOffers) == []
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    assert desk.of(c.SendOffers) == []
    desk.commit()
    assert [offer.task for offer in desk.one(c.SendOffers).offers] == [1]
    desk.submit(Template("m:o", durable=True, idempotent=False), caller=51)
    desk.turn(e.CancelRequested(6, 2))
    desk.commit()
    assert desk.of(c.SendOffers) == []


def test_a_refused_task_keeps_its_attempt_and_is_offered_again_after_a_while() -> None:
    """What was only started on paper is taken back."""
    desk = giving()
    desk.submit()
    desk.turn(e.OffersAnswered("n", (), (Refusal(1, 1, "busy"), Refusal(1, 9, "late"), Refusal(88, 1, "unknown"))))
    assert type(desk.one(c.Record).entry) is Returned
    assert desk.state.tasks[1].attempt == 1
    assert desk.of(c.SendOffers) == []
    desk.turn(e.Ticked(), after_s=1.0)
    assert desk.of(c.SendOffers)


def test_a_refusal_for_good_is_forgotten_when_the_neighbour_has_changed() -> None:
    """Or when the link is new."""
    desk = giving()
    desk.submit()
    desk.turn(e.OffersAnswered("n", (), (Refusal(1, 1, "too large", final=True),)))
    desk.turn(e.Ticked(), after_s=3.0)
    desk.turn(e.LoadReported("n", Report(1, 2, 1, (Tier(1.0, 2.0, 2.0, 2.0, 0.0),), cores(2))))
    assert desk.of(c.SendOffers) == []
    desk.turn(e.LoadReported("n", Report(1, 3, 1, (Tier(1.0, 4.0, 4.0, 4.0, 0.0),), cores(4))))
    assert desk.of(c.SendOffers)


def test_more_that_is_free_makes_up_for_a_refusal() -> None:
    """The neighbour says so itself: no need to wait."""
    desk = giving()
    desk.submit()
    desk.turn(e.OffersAnswered("n", (), (Refusal(1, 1, "busy"),)))
    desk.turn(e.LoadReported("n", Report(1, 2, 1, (Tier(1.0, 3.0, 3.0, 3.0, 0.0),), cores(2))))
    assert desk.of(c.SendOffers)


def test_a_cancelled_task_that_is_refused_is_cancelled() -> None:
    """It was never there."""
    desk = giving()
    desk.submit()
    desk.turn(e.CancelRequested(6, 1))
    assert desk.one(c.CancelTasks).tasks == ((1, 1),)
    desk.turn(e.OffersAnswered("n", (), (Refusal(1, 1, "busy"),)))
    desk.commit()
    assert desk.state.ledger.operations[1].status == Status.CANCELLED


def test_a_cancel_leaves_after_the_offer_that_it_is_about() -> None:
    """Even when both are wanted in one turn."""
    desk = giving()
    desk.submit()
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1), e.CancelRequested(6, 1))
    kinds = [type(command) for command in desk.commands]
    assert kinds.index(c.SendOffers) < kinds.index(c.CancelTasks)


def test_an_end_counts_only_from_the_holder_under_its_attempt() -> None:
    """A forged or late one is counted, confirmed, and not seen."""
    desk = giving()
    desk.neighbour("liar", 1, link=LINK + 1, is_pooled=False)
    desk.submit()
    outcome = Outcome(0, Payload(3, b"forged"))
    desk.turn(e.EndsReceived("liar", [End(1, 1, 0, outcome)]), e.EndsReceived("n", [End(1, 2, 0, outcome)]))
    assert desk.state.counters["late_ends"] == 2
    assert {ack.neighbour for ack in desk.of(c.AcknowledgeEnds)} == {"liar", "n"}
    desk.turn(e.EndsReceived("nobody", [End(1, 1, 0, outcome)]))
    assert 1 in desk.state.tasks


def test_an_end_is_confirmed_when_it_is_on_the_disk() -> None:
    """Until then the holder keeps it."""
    desk = giving()
    desk.submit()
    desk.turn(e.OffersAnswered("n", ((1, 1, 4),)), e.OffersAnswered("nobody", ()))
    assert desk.state.tasks[1].epoch == 4
    desk.turn(e.EndsReceived("n", [End(1, 1, 4, Outcome(0, Payload(3, b"r"), agent="n", hops=1))]))
    assert type(desk.one(c.Record).entry) is Ended
    assert desk.of(c.AcknowledgeEnds) == []
    desk.commit()
    assert desk.one(c.AcknowledgeEnds) == c.AcknowledgeEnds("n", ((1, 1),))
    assert desk.state.ledger.operations[1].ran_on == "n"


def test_an_end_whose_value_was_brought_here_is_confirmed_at_once() -> None:
    """Its holder writes the next value where that one lies; of others it may be told a little later."""
    desk = giving()
    desk.commit()
    caller = desk.open_session(CALL)
    desk.call(caller, 1)
    (offer,) = desk.one(c.SendOffers).offers
    desk.turn(e.OffersAnswered("n", ((offer.task, 1, 4),)))
    remote = Remote("id-n", "b1", 9, 1 << 20, ("id-n",))
    value = Payload(3, b"", (Part(1 << 20, remote=remote),))
    desk.turn(e.EndsReceived("n", [End(offer.task, 1, 4, Outcome(0, value, agent="n", hops=1))]))
    assert desk.one(c.FetchObject).remote.key == remote.key
    assert desk.of(c.AcknowledgeEnds) == []
    desk.turn(e.ObjectFetched(remote.key, 77))
    assert desk.one(c.AcknowledgeEnds) == c.AcknowledgeEnds("n", ((offer.task, 1),), may_wait=False)


def test_a_lost_attempt_is_made_again_elsewhere_and_written_down() -> None:
    """The neighbour forgets it: after a crash it must not be asked for again."""
    desk = giving()
    desk.submit()
    desk.turn(e.EndsReceived("n", [End(1, 1, 0, Outcome(Status.LOST_UNKNOWN))]))
    assert [type(one.entry) for one in desk.of(c.Record)] == [Returned, Started, Started]
    assert desk.one(c.SendOffers).offers[0].attempt == 2


def test_a_third_blame_from_neighbours_is_quarantine() -> None:
    """Wherever the workers died."""
    desk = giving()
    desk.submit(Template("m:f", durable=True, max_attempts=9))
    for attempt in (1, 2, 3):
        desk.turn(e.EndsReceived("n", [End(1, attempt, 0, Outcome(Status.QUARANTINED, failure=DEATH))]))
    desk.commit()
    assert desk.state.ledger.operations[1].status == Status.QUARANTINED


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_no_run_time_that_a_neighbour_says_spoils_what_is_learned(seconds: float) -> None:
    """A lie is bounded."""
    desk = giving(own=1)
    caller = desk.open_session(CALL)
    desk.call(caller, 1, 2, 3)
    task = desk.one(c.SendOffers).offers[0].task
    desk.turn(e.EndsReceived("n", [End(task, 1, 0, Outcome(0, seconds=seconds))]))
    shape = next(iter(desk.state.declared[caller].values()))
    assert 0 < shape.estimate_s < 1e10
    desk.call(caller, *range(10, 20))


def test_a_report_of_what_cannot_be_is_not_believed() -> None:
    """Amounts only."""
    bad = [
        Tier(1.0, float("nan"), 1, 1, 0),
        Tier(1.0, 1, -4, 1, 0),
        Tier(0.0, 1, 1, 1, 0),
        Tier(1.0, 1, 1, float("inf"), 0),
    ]
    good = [Tier(1.0 + number, 1.0, 1.0, 1.0, 0.0) for number in range(9)]
    assert believable([*bad, *good]) == tuple(good[:6])


# --- rows -------------------------------------------------------------------------------------------------------


def task_of(template: Template, payload: Payload | None = None, **more: object):
    """Make a task that waits at an agent."""
    desk = Desk(0)
    caller = desk.open_session(template)
    desk.call(caller, 1, payload=payload)
    (task,) = desk.state.tasks.values()
    for name, value in more.items():
        setattr(task, name, value)
    return task


def test_each_objection_has_its_words() -> None:
    """They reach the user who asks why a task waits."""
    plain = task_of(CALL)
    assert row().objection(plain) is None
    assert row().admits(plain)
    assert row(state=LinkState.CUT, why_not="reset").objection(plain) == "its link is cut: reset"
    assert row(state=LinkState.CONNECTING).objection(plain) == "its link is connecting"
    assert "gives us work" in row(is_pooled=False).objection(plain)
    assert row(report=Report(draining=True)).objection(plain) == "it is draining"
    for path in (Path("o", "n", 1, ("o",)), Path("o", "m", 2, ("o", "id-n"))):
        assert row().objection(task_of(CALL, path=path)) == "the task came through it"
    far = Path("o", "m", 8, ("o",))
    assert "8 hops" in row().objection(task_of(CALL, path=far))
    declined = row()
    declined.declined(plain.shape, "not today", is_final=False)
    assert declined.objection(plain) == "it declined: not today"
    local = task_of(Template("m:f", constraints=Constraints(is_local=True)))
    assert "stay on the agent" in row().objection(local)
    large = task_of(CALL, Payload(1, bytes(16 << 20)))
    assert row().objection(task_of(CALL, Payload(1, b"", (Part(16 << 20, None, 3),)))) is None
    assert "do not fit into one message" in row().objection(large)
    assert "memory" in row().objection(task_of(Template("m:f", constraints=Constraints(memory_mib=200))))
    assert row(granted=Capacity()).objection(task_of(CALL)) != ""
    lacking = row()
    lacking.take_report(Report(functions=("other",)), 0.0)
    assert lacking.objection(plain) == "it does not have m:f"


def test_refusals_are_bounded() -> None:
    """A neighbour that declines everything does not fill memory."""
    declined = row()
    shape = task_of(CALL).shape
    for number in range(10_000):
        shape.number = number
        declined.declined(shape, "no", is_final=True)
        declined.has_room(task_of_shape(shape))
    assert len(declined.refusals) <= 4096
    assert len(declined._counts) <= 4096


def task_of_shape(shape: object):
    """Make the smallest thing that has a shape."""
    return SimpleNamespace(shape=shape)


def test_room_is_what_was_granted_and_a_little_ahead_of_it() -> None:
    """Short tasks are sent ahead, long and unknown ones are not; memory counts too."""
    one = row()
    tasks = [task_of(CALL) for _ in range(3)]
    for number, task in enumerate(tasks):
        task.id = number
    one.book(tasks[0])
    assert one.has_room(tasks[1])
    one.book(tasks[1])
    assert not one.has_room(tasks[2])
    tasks[2].shape.estimate_s = 0.0001
    assert one.has_room(tasks[2])
    for task in tasks[:2]:
        one.unbook(task)
    one.unbook(tasks[0])
    assert (one._booked, len(one.unseen), one._share) == ({}, 0, 0)
    half = task_of(Template("m:f", constraints=Constraints(memory_mib=50)))
    assert one._fit(half.shape) == 2
    assert not row().has_room(task_of(Template("m:f", constraints=Constraints(computing_units=9))))


def test_what_was_sent_and_not_seen_is_taken_off_the_report() -> None:
    """The fastest cores first; never below nothing; until a report has seen it."""
    one = row()
    one.take_report(Report(1, 1, 0, (Tier(1.0, 1.0, 2.0, 2.0, 0.0), Tier(2.0, 1.0, 2.0, 4.0, 1.0)), cores(2)), 3.0)
    for number in range(3):
        task = task_of(CALL)
        task.id = number
        one.book(task)
    fast, slow = one.tiers
    assert (fast.speed, fast.free, slow.free) == (2.0, 0.0, 0.0)
    assert fast.backlog_s == pytest.approx(1.3)
    one.take_report(Report(1, 2, 3, (Tier(1.0, 1.0, 2.0, 2.0, 0.0),), cores(2)), 4.0)
    assert one.tiers == (Tier(1.0, 1.0, 2.0, 2.0, 0.0),)
    one._asked.now_s = 9.0
    assert one.age_s == 5.0


def test_without_a_report_the_grant_is_believed_less_what_it_holds() -> None:
    """The operator knows better than nobody."""
    one = row()
    task = task_of(CALL)
    assert one.tiers[0].free == 2.0
    one.book(task)
    one.unseen.clear()
    one._weigh()
    assert one.tiers[0].free == 1.0


def test_a_grant_grows_and_shrinks() -> None:
    """As the own pool does, with the same refusals."""
    one = row()
    one.grow(cores(2))
    assert one.granted.units() == 4
    one.shrink(cores(3))
    assert one.granted.units() == 1
    with pytest.raises(RequestError, match="cannot take away"):
        one.shrink(cores(3))
