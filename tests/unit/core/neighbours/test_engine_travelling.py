"""What may be under way to one neighbour: bounded in bytes, given back by its answers, and no burden to another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.neighbours.travelling import LIGHT_BYTES, MOST_BYTES, UNREAD_MOST_BYTES, Travelling
from agentd.core.placing.plan import explain
from agentd.core.tasks.task import State
from agentd.model.exchange import Refusal
from agentd.model.task import Template
from agentd.model.values import Payload
from schedulers.capacity import Capacity
from tests.unit.core.engine_desk import CALL, LINK, Desk

MIB = 1 << 20
HEAVY = Payload(1, bytes(5 * MIB))


def offered(desk: Desk, to: str = "n") -> list[int]:
    """Give the tasks offered to a neighbour in the last turn."""
    return [offer.task for command in desk.of(c.SendOffers) if command.neighbour == to for offer in command.offers]


def answered(desk: Desk, *tasks: int, by: str = "n") -> list[int]:
    """Let a neighbour accept tasks, and give what it is offered thereupon."""
    desk.turn(e.OffersAnswered(by, tuple((task, 1, 0) for task in tasks), ()))
    return offered(desk, by)


def desk_with(*names: str, units: int = 64) -> Desk:
    """A desk without own cores, beside neighbours with many."""
    desk = Desk(0)
    for number, name in enumerate(names):
        desk.neighbour(name, units, link=LINK + number)
    return desk


def test_a_neighbour_that_does_not_answer_is_sent_no_more_than_its_share() -> None:
    """Three of twenty heavy calls are under way, the others wait here with the reason; each answer lets one go."""
    desk = desk_with("n")
    desk.call(desk.open_session(), *range(20), payload=HEAVY)
    first = offered(desk)
    assert len(first) == MOST_BYTES // (5 * MIB) == 3
    desk.turn()
    assert offered(desk) == []
    waiting = next(task for task in desk.state.tasks.values() if task.id not in first)
    why = explain(waiting, desk.engine.window, desk.state.neighbourhood, "", 0)
    assert "n: 15 MiB are under way to it, and it has not answered yet" in why
    assert len(answered(desk, first[0])) == 1
    desk.turn(e.OffersAnswered("n", (), (Refusal(first[1], 1, "no", final=True),)))
    assert desk.state.neighbourhood.by_name["n"].travelling.bytes == 10 * MIB


def test_what_one_neighbour_does_not_read_another_one_gets() -> None:
    """Its share is its own: the rest of the work goes to who answers, all of it."""
    desk = desk_with("slow", "quick")
    desk.call(desk.open_session(), *range(20), payload=HEAVY)
    slow, begun = offered(desk, "slow"), offered(desk, "quick")
    assert (len(slow), len(begun)) == (3, 3)
    done = []
    while begun:
        done += begun
        begun = answered(desk, *begun, by="quick")
        assert offered(desk, "slow") == []
    assert len(done) == 17


def test_light_calls_are_not_counted() -> None:
    """A plain call is as free as ever, also beside heavy ones that fill the share."""
    desk = desk_with("n")
    caller = desk.open_session(CALL, Template("m:g"))
    desk.call(caller, 1, payload=Payload(1, bytes(15 * MIB)))
    desk.call(caller, *range(2, 12), template=1, payload=Payload(1, bytes(100)))
    assert len(offered(desk)) == 10
    desk.call(caller, 12, payload=Payload(1, bytes(2 * MIB)))
    assert offered(desk) == []


def test_code_counts_until_the_neighbour_has_it() -> None:
    """What has to be declared first travels too; once declared it weighs nothing."""
    desk = desk_with("n")
    codes = [Template(f"f{number}", code=bytes(6 * MIB)) for number in range(4)]
    caller = desk.open_session(*codes)
    desk.turn(e.CallsSubmitted(caller, [e.Submission(number, number, Payload()) for number in range(4)]))
    first = offered(desk)
    assert len(first) == 2
    answered(desk, *first)
    desk.call(caller, *range(10, 14))
    assert len(offered(desk)) == 4


def test_a_new_link_counts_what_is_offered_again() -> None:
    """A cut neither frees the share, since what was not answered is sent again, nor loses it."""
    desk = desk_with("n")
    desk.call(desk.open_session(), *range(6), payload=HEAVY)
    first = offered(desk)
    desk.turn(e.LinkClosed("n", LINK, "cut"))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    again = set(offered(desk))
    assert again == set(first)
    assert desk.state.neighbourhood.by_name["n"].travelling.bytes == 15 * MIB
    desk.turn(e.ResourceRemoved(1, "n", lost=True))
    assert desk.state.neighbourhood.get("n") is None
    desk.turn(e.ResourceAdded(0, "m", Capacity(), "comm", declared=False))


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12 * MIB), st.booleans()), max_size=60))
def test_the_share_is_what_is_under_way(steps: list[tuple[int, int, bool]]) -> None:
    """After any history the bytes are those of the heavy offers that are open; all gone, nothing is left."""
    travelling, open_offers = Travelling(), dict[int, int]()
    for task, size, is_answer in steps:
        if is_answer:
            assert travelling.arrived(task) == (open_offers.pop(task, 0) > LIGHT_BYTES)
        elif task not in open_offers and travelling.has_room(size):
            travelling.add(task, size)
            open_offers[task] = size
        heavy = [size for size in open_offers.values() if size > LIGHT_BYTES]
        assert travelling.bytes == sum(heavy)
        assert travelling.bytes <= MOST_BYTES or len(heavy) == 1
    for task in list(open_offers):
        travelling.arrived(task)
    assert travelling.bytes == 0


def told(desk: Desk) -> list[int]:
    """Give the tasks of which the neighbour was told the end in the last turn."""
    return [end.task for command in desk.of(c.SendEnds) for end in command.ends]


def test_who_does_not_take_results_has_no_more_of_them_made() -> None:
    """Its tasks wait with that reason, here and for neighbours; others' run; what it confirms lets them go on."""
    desk = Desk(1)
    desk.neighbour("n", 0, is_pooled=False)
    desk.neighbour("m", 4, link=LINK + 1)
    desk.call(desk.open_session(), 1)
    desk.turn(e.ResourceRemoved(1, "m", lost=True))
    desk.state.neighbourhood.ensure("n", 8).unread.add(99, UNREAD_MOST_BYTES + 1)
    (own,) = desk.state.tasks
    desk.offer(5_000_001, CALL)
    desk.end(desk.state.tasks[own].worker, own)
    waiting = desk.state.tasks[5_000_001]
    assert waiting.state is State.WAITING
    words = "n does not take the results of its tasks"
    assert words in explain(waiting, desk.engine.window, desk.state.neighbourhood, "", 0)
    desk.neighbour("o", 4, link=LINK + 2)
    assert offered(desk, "o") == []
    assert desk.state.neighbourhood.by_name["o"].objection(waiting) == words
    desk.call(70, 2)
    assert len(desk.of(c.RunTasks)) + len(offered(desk, "o")) == 1
    desk.state.neighbourhood.by_name["n"].unread.arrived(99)
    desk.call(70, 3)
    assert waiting.state is not State.WAITING


def test_results_are_counted_until_they_are_confirmed() -> None:
    """Once each, however often they are told; with the last confirmation nothing is left, and the tasks go on."""
    desk = Desk(1)
    desk.neighbour("n", 0, is_pooled=False)
    for number in range(40):
        desk.offer(5_000_001 + number, CALL)
    row, ended = desk.state.neighbourhood.by_name["n"], []
    for _ in range(100):
        running = [task for task in desk.state.tasks.values() if task.state in {State.RUNNING, State.ASSIGNED}]
        if not running:
            break
        desk.end(running[0].worker, running[0].id, value=Payload(1, bytes(MIB)))
        desk.commit()
        ended += told(desk)
    assert row.unread.bytes == 33 * MIB
    desk.turn(e.LinkClosed("n", LINK, "cut"))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    assert row.unread.bytes <= 40 * MIB
    desk.turn(e.EndsAcknowledged("n", tuple((task, 1) for task in row.ends_unacknowledged)))
    assert row.unread.bytes == 0
    assert any(task.state is not State.WAITING for task in desk.state.tasks.values()) or not desk.state.tasks
