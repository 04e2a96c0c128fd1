"""Tasks that serve a session at a neighbour: for that one alone, of use once, and only while the link is there."""

from __future__ import annotations

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.neighbours.neighbour import LinkState
from agentd.core.tasks.task import State
from agentd.model.exchange import End, Offer, Refusal, Submission
from agentd.model.task import Constraints, Form, Outcome, Status, Template
from agentd.model.values import Codec, Part, Payload
from tests.unit.core.engine_desk import LINK, Desk

LINE = Template(
    "direct line", form=Form.DIRECT, constraints=Constraints(is_local=True), max_attempts=1, idempotent=False
)
TICKET = Payload(Codec.BYTES, b"t" * 32)
CALLER, OF_LINE, TASK = 70, -2, 5_000_001


def asking(*, own: int = 0, units: int = 1, only: str = "n") -> Desk:
    """Give a desk with a session that asks for a line to its neighbour behind a call."""
    desk = Desk(own, scheduler="load-balancing")
    desk.neighbour("n", units)
    desk.open_session()
    desk.turn(e.TemplatesDeclared(CALLER, ((OF_LINE, LINE),), only=only))
    desk.turn(
        e.CallsSubmitted(CALLER, [Submission(1, 0, Payload())]),
        e.CallsSubmitted(CALLER, [Submission(2, OF_LINE, TICKET)]),
    )
    return desk


def test_a_line_is_offered_behind_the_call_though_that_takes_the_one_core() -> None:
    """So it begins when that call has ended, before the session has its result."""
    desk = asking()
    offers = [offer for command in desk.of(c.SendOffers) for offer in command.offers]
    assert [offer.payload for offer in offers] == [Payload(), TICKET]
    ((_, told),) = [
        pair for command in desk.of(c.DeclareTemplates) for pair in command.templates if pair[1].form is Form.DIRECT
    ]
    assert told.constraints.is_local


def test_a_second_line_waits_for_the_first() -> None:
    """What lasts takes its core for good."""
    desk = asking()
    desk.turn(e.CallsSubmitted(CALLER, [Submission(3, OF_LINE, TICKET)]))
    assert desk.of(c.SendOffers) == []


def test_a_line_goes_nowhere_but_to_its_neighbour() -> None:
    """Not here where cores are idle, and not to another one."""
    desk = asking(own=4, only="gone")
    desk.neighbour("m", 4, link=LINK + 1)
    assert [one.worker for one in desk.of(c.RunTasks)] == []
    waiting = [task for task in desk.state.tasks.values() if task.shape.template.form is Form.DIRECT]
    assert [task.state for task in waiting] == [State.WAITING]
    desk.turn(e.CallsCancelled(CALLER, (2,)))
    (settled,) = desk.one(c.SettleCalls).settled
    assert (settled.ref, settled.outcome.status) == (2, Status.CANCELLED)


def test_a_refused_line_ends_and_says_nothing_of_the_next() -> None:
    """Its ticket is used up; the next one, with another ticket, is offered."""
    desk = asking()
    desk.turn(e.OffersAnswered("n", (), (Refusal(2, 1, "the connection is not here", final=True),)))
    (settled,) = desk.one(c.SettleCalls).settled
    assert (settled.ref, settled.outcome.status) == (2, Status.FAILED)
    assert settled.outcome.failure is not None
    assert settled.outcome.failure.agent == "n"
    desk.turn(e.CallsSubmitted(CALLER, [Submission(3, OF_LINE, TICKET)]))
    assert [offer.payload for offer in desk.one(c.SendOffers).offers] == [TICKET]


def test_a_line_ends_with_the_link_and_other_work_does_not() -> None:
    """The call is believed in for a lease; the line is lost at once, and is not made up for when the link is back."""
    desk = asking(units=2)
    desk.turn(e.OffersAnswered("n", ((1, 1, 1), (2, 1, 1))))
    desk.turn(e.LinkClosed("n", LINK, "reset"))
    (settled,) = desk.one(c.SettleCalls).settled
    assert (settled.ref, settled.outcome.status) == (2, Status.LOST_UNKNOWN)
    assert settled.outcome.failure is not None
    assert settled.outcome.failure.message == "n: reset"
    assert desk.state.tasks[1].state is State.FORWARDED
    neighbour = desk.state.neighbourhood.get("n")
    assert neighbour is not None
    assert neighbour.state is LinkState.CUT
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1, True))
    desk.turn(e.InventoryReceived("n", LINK + 1, ((1, 1), (2, 1)), (), True))
    assert desk.one(c.CancelTasks).tasks == ((2, 1),)
    desk.turn(e.EndsReceived("n", [End(2, 1, 1, Outcome(Status.CANCELLED))]))
    assert desk.of(c.SettleCalls) == []


def test_a_line_for_a_neighbour_is_stopped_with_the_link() -> None:
    """Who is trusted no more does not go on to call; a task that it gave goes on for a while."""
    desk = Desk(2)
    desk.neighbour("n", 1)
    socket = Payload(Codec.BYTES, b"", (Part(0, None, 9),))
    desk.offer(TASK, LINE, payload=socket)
    (run,) = desk.of(c.RunTasks)
    desk.offer(TASK + 1, Template("m:f"))
    desk.turn(e.LinkClosed("n", LINK, "the pairing was revoked"))
    stopped = desk.one(c.InterruptTask)
    assert (stopped.worker, stopped.task, stopped.level) == (run.worker, TASK, 0)
    assert desk.state.tasks[TASK + 1].state is State.RUNNING


def test_a_line_that_a_neighbour_may_not_have_leaves_no_connection() -> None:
    """An agent that is stopping refuses it, and lets go of what had come for it."""
    desk = Desk(1)
    desk.neighbour("n", 1)
    desk.turn(e.DrainRequested(5.0))
    socket = Payload(Codec.BYTES, b"", (Part(0, None, 9),))
    desk.turn(e.TemplatesDeclared(LINK, ((1, LINE),)))
    desk.turn(e.OffersReceived("n", LINK, [Offer(TASK, 1, socket, hops=1, visited=("id-n",), origin="n")]))
    assert desk.one(c.AnswerOffers).refused[0].task == TASK
    assert desk.one(c.ReleaseSegments).segments == (9,)


def test_a_line_is_never_passed_on() -> None:
    """It serves where its connection ends, whoever else is idle."""
    desk = Desk(1, scheduler="load-balancing")
    desk.neighbour("n", 1)
    desk.neighbour("m", 8, link=LINK + 1)
    desk.offer(TASK, Template("m:slow"))
    desk.offer(TASK + 1, LINE, payload=Payload(Codec.BYTES, b"", (Part(0, None, 9),)))
    assert desk.state.tasks[TASK + 1].state is State.WAITING
    assert [offer.task for command in desk.of(c.SendOffers) for offer in command.offers] == []
