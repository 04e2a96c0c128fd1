"""Calls that wait for their arguments: in order, a bounded number ahead, and never after their program."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import wraps
from types import SimpleNamespace
from typing import Any

from agentd.core.events import CallsCancelled, CallsSubmitted, Event
from agentd.daemon.data.pulling import ACTIVE_MOST, AHEAD_BYTES, AHEAD_CALLS, TRIES, Pulling
from agentd.daemon.data.returns import Returns
from agentd.model.exchange import Settled, Submission
from agentd.model.task import Outcome, Status
from agentd.model.values import ObjectKey, Part, Payload, Remote

CALLER = 5
LARGE = AHEAD_BYTES // 2 + 1


class Desk:
    """Pulling, and all around it: transfers that come when the test says so."""

    def __init__(self) -> None:
        self.pool = SimpleNamespace(total=lambda: 1)
        self.draining = self.is_nearly_full = False
        self.identity = SimpleNamespace(name="a")
        self.crew = SimpleNamespace(pool=self.pool)
        self.number = CALLER
        self.session = SimpleNamespace(terms=SimpleNamespace(local=False))
        self.program = ""
        self.may_return = False
        self.held: Counter[int] = Counter()
        self.halted: dict[int, int] = {}
        """What has come of an object at the time of a cut, by its number; what is not in here is nothing."""
        self.resumed: list[int] = []
        self.returns = Returns()
        self.coming: dict[ObjectKey, tuple[Remote, Any]] = {}
        self.released: list[int] = []
        self.dropped = 0
        self.is_short = False
        self.asked_again = 0
        self.events: list[Event] = []
        self.settled: list[Settled] = []
        self.pulling = Pulling(self, self, self, self, self.returns)  # type: ignore[arg-type]

    # --- as a door, a link, the segments ------------------------------------------------------------------------

    def link(self, _: int) -> Any:
        return self

    def settle_calls(self, command: Any) -> None:
        self.settled += command.settled

    def flush(self) -> None:
        """Do nothing."""

    def retain(self, segment: int) -> None:
        self.held[segment] += 1

    def release(self, segment: int) -> None:
        self.released.append(segment)

    # --- as the transfers ---------------------------------------------------------------------------------------

    def pull(self, key: ObjectKey, _: Any, remote: Remote, awaiting: Any) -> None:
        self.coming[key] = remote, awaiting
        if self.is_short:
            awaiting.failed("no room", is_damaged=False, is_no_room=True)

    def again(self, _key: ObjectKey, _link: Any) -> None:
        self.asked_again += 1

    def halt(self, key: ObjectKey) -> int:
        return self.halted.get(self.coming[key][0].number, 0)

    def resume(self, key: ObjectKey, _: Any, awaiting: Any) -> None:
        self.coming[key] = self.coming[key][0], awaiting
        self.resumed.append(self.coming[key][0].number)

    def drop(self, key: ObjectKey) -> None:
        self.dropped += self.coming.pop(key, None) is not None

    # --- what tests say -----------------------------------------------------------------------------------------

    def submit(self, *refs: int, size: int = LARGE, objects: int = 1) -> list[int]:
        """Ask for calls, each with objects of its own; gives those that went on at once."""
        calls = [
            Submission(ref, 1, Payload(1, b"", tuple(_part(ref, size, one) for one in range(objects)))) for ref in refs
        ]
        event = self.pulling.held(CallsSubmitted(CALLER, [*calls, Submission(999, 1, Payload())]), self.events.append)
        return [call.ref for call in event.calls]

    def arrive(self, number: int) -> None:
        """An object comes, in a segment of the same number."""
        (key,) = [key for key, (remote, _) in self.coming.items() if remote.number == number]
        _, awaiting = self.coming.pop(key)
        awaiting.arrived(number)

    def fail(self, number: int, **how: bool) -> None:
        """An object does not come."""
        (awaiting,) = [awaiting for remote, awaiting in self.coming.values() if remote.number == number]
        awaiting.failed("it was eaten", **{"is_damaged": False, "is_no_room": False, **how})

    def end(self, *refs: int) -> None:
        """Calls have ended."""
        self.pulling.settled(CALLER, [Settled(ref, Outcome()) for ref in refs])

    @property
    def asked(self) -> list[int]:
        return [remote.number for remote, _ in self.coming.values()]

    @property
    def begun(self) -> list[int]:
        """The calls that the engine heard of."""
        return [call.ref for event in self.events if isinstance(event, CallsSubmitted) for call in event.calls]


def _part(ref: int, size: int, one: int) -> Part:
    return Part(size, remote=Remote("", "", 100 * one + ref, size))


def on_a_loop(test: Callable[[Desk], None]) -> Callable[[], None]:
    """Run a test where there is a loop."""

    @wraps(test)
    def run() -> None:
        async def body() -> None:
            desk = Desk()
            test(desk)
            desk.pulling.close()

        coroutine: Coroutine[Any, Any, None] = body()
        asyncio.run(coroutine)

    del run.__wrapped__  # type: ignore[attr-defined]
    return run


@on_a_loop
def test_a_call_goes_on_with_all_of_its_objects(desk: Desk) -> None:
    """Not before, and then with segments in their place; what names nothing does not wait."""
    assert desk.submit(1, objects=2) == [999]
    assert desk.asked == [1, 101]
    desk.arrive(101)
    assert desk.begun == []
    desk.arrive(1)
    assert desk.begun == [1]
    (event,) = desk.events
    assert isinstance(event, CallsSubmitted)
    parts = event.calls[0].payload.parts
    assert [(part.segment, part.size, part.remote) for part in parts] == [(1, LARGE, None), (101, LARGE, None)]


@on_a_loop
def test_large_ones_are_fetched_a_few_ahead(desk: Desk) -> None:
    """So many at a time, and so many that have not ended; each that ends lets the next begin."""
    refs = list(range(1, 30))
    desk.submit(*refs)
    assert desk.asked == refs[:ACTIVE_MOST]
    for ref in refs[:AHEAD_CALLS]:
        desk.arrive(ref)
    assert (desk.asked, desk.begun) == ([], refs[:AHEAD_CALLS])
    desk.end(3)
    assert desk.asked == [AHEAD_CALLS + 1]


@on_a_loop
def test_small_ones_are_fetched_further_ahead(desk: Desk) -> None:
    """As long as all of them are little together."""
    refs = list(range(1, 30))
    desk.submit(*refs, size=AHEAD_BYTES // 20)
    for ref in refs[:20]:
        desk.arrive(ref)
    assert (desk.asked, desk.begun) == ([], refs[:20])


@on_a_loop
def test_nothing_is_fetched_while_the_queue_is_nearly_full(desk: Desk) -> None:
    """It goes on when something has ended and there is room."""
    desk.is_nearly_full = True
    desk.submit(1, 2)
    assert desk.asked == []
    desk.is_nearly_full = False
    desk.end(77)
    assert desk.asked == [1, 2]


@on_a_loop
def test_where_there_is_no_room_a_call_waits_for_those_before_it(desk: Desk) -> None:
    """And fails with the reason only when none is left whose end would make room."""
    desk.submit(1)
    desk.arrive(1)
    desk.is_short = True
    desk.submit(2)
    assert (desk.settled, desk.coming) == ([], {})
    desk.end(1)
    (told,) = desk.settled
    assert told.ref == 2
    assert told.outcome.failure is not None
    assert "no room" in told.outcome.failure.message


@on_a_loop
def test_many_that_fail_at_once_fail_one_after_the_other(desk: Desk) -> None:
    """However many there are."""
    desk.is_short = True
    desk.submit(*range(1, 5_000))
    assert [one.ref for one in desk.settled] == list(range(1, 5_000))
    assert CALLER not in desk.pulling


@on_a_loop
def test_what_does_not_come_fails_the_call_and_frees_the_rest(desk: Desk) -> None:
    """What of it is here goes, what is on its way is dropped, and the next call is served."""
    desk.submit(1, objects=3)
    desk.submit(2)
    desk.arrive(101)
    desk.fail(1)
    assert ([one.ref for one in desk.settled], desk.released, desk.dropped) == ([1], [101], 2)
    assert desk.asked == [2]


@on_a_loop
def test_what_is_damaged_is_asked_for_some_times(desk: Desk) -> None:
    """Not for ever."""
    desk.submit(1)
    for number in range(1, TRIES):
        desk.fail(1, is_damaged=True)
        assert (desk.asked_again, desk.settled) == (number, [])
    desk.fail(1, is_damaged=True)
    assert [one.ref for one in desk.settled] == [1]


@on_a_loop
def test_a_call_that_is_given_up_is_settled_and_forgotten(desk: Desk) -> None:
    """One that waits, and one in the middle of it; one that the engine has is the engine's to end."""
    desk.submit(*range(1, 8))
    desk.arrive(1)
    desk.pulling.cancelled(CallsCancelled(CALLER, (1, 2, 7)))
    assert [(one.ref, one.outcome.status) for one in desk.settled] == [(2, Status.CANCELLED), (7, Status.CANCELLED)]
    assert desk.dropped == 1
    assert desk.asked == [3, 4, 5, 6]


@on_a_loop
def test_a_program_that_leaves_takes_all_of_it_along(desk: Desk) -> None:
    """Nothing is settled, nothing stays, and nothing more is fetched."""
    desk.submit(1, 2, objects=2)
    desk.arrive(1)
    desk.pulling.left(CALLER)
    assert (desk.released, desk.coming, desk.settled, CALLER in desk.pulling) == ([1], {}, [], False)


@on_a_loop
def test_a_program_that_was_cut_off_goes_on_with_what_is_here(desk: Desk) -> None:
    """What the engine had, what had come of others and what had begun; only what nothing had come of begins anew."""
    desk.program, desk.may_return = "p", True
    desk.submit(1, 2, 3, objects=2)
    for number in (1, 101, 2):
        desk.arrive(number)
    assert (desk.begun, desk.held) == ([1], {1: 1, 101: 1})
    desk.halted = {102: 5}
    desk.pulling.left(CALLER)
    assert (desk.released, len(desk.returns), sorted(desk.asked)) == ([], 4, [102])
    desk.events.clear()
    desk.submit(3, 2, 1, objects=2)
    assert (desk.begun, desk.resumed, sorted(desk.asked)) == ([1], [102], [3, 102, 103])
    desk.arrive(102)
    assert (desk.begun, len(desk.returns)) == ([1, 2], 0)
    desk.end(1, 2)
    assert sorted(desk.released) == [1, 2, 101, 102]


@on_a_loop
def test_what_is_kept_is_of_one_program_and_one_size(desk: Desk) -> None:
    """Another program with the same numbers, or the same one with another object, has its own fetched."""
    desk.program, desk.may_return = "p", True
    desk.submit(1)
    desk.arrive(1)
    desk.pulling.left(CALLER)
    desk.program = "q"
    desk.submit(1)
    desk.program = "p"
    desk.submit(1, size=LARGE + 1)
    assert (desk.asked, len(desk.returns)) == ([1, 1], 1)


@on_a_loop
def test_a_program_that_said_goodbye_leaves_nothing(desk: Desk) -> None:
    """Nor does one that was sent away, or its calls when they have ended."""
    desk.program = "p"
    desk.submit(1, 2)
    desk.arrive(1)
    desk.pulling.left(CALLER)
    assert (desk.released, desk.coming, len(desk.returns)) == ([1], {}, 0)


@on_a_loop
def test_an_agent_that_stops_fetches_nothing(desk: Desk) -> None:
    """The engine hears of the calls at once, and tells why it takes none."""
    desk.draining = True
    desk.submit(1, 2)
    assert (desk.asked, desk.begun) == ([], [1, 2])
