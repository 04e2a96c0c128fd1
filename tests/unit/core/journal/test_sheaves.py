"""Ended operations that are kept as one are, one by one, what they would be by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from agentd.core.journal.alike import ALIKE_LEAST, ALIKE_MOST
from agentd.core.journal.ledger import (
    FORGOTTEN_MOST,
    ROOM,
    UNREAD_S,
    Ledger,
    Operation,
    Retention,
    Sheaf,
    numbers_of,
)
from agentd.model.task import Failure, Outcome, Reason, Status, Template
from agentd.model.values import Part, Payload

TEMPLATES = Template("m:f", durable=True), Template("m:g", durable=True)
RETENTION = Retention(most=20 * ROOM)

_operations = st.tuples(
    st.sampled_from(TEMPLATES),
    st.sampled_from((1.0, 2.0)),
    st.sampled_from((1e9, 2e9)),
    st.sampled_from(("", "", "", "n")),
    st.sampled_from(("", "", "", "", "key", "callback", "cancelling")),
)
_outcomes = st.one_of(
    st.builds(
        Outcome, value=st.builds(Payload, st.just(1), st.binary(max_size=3)), agent=st.sampled_from(("own", "n"))
    ),
    st.builds(Outcome, hops=st.integers(0, 1), attempts=st.integers(1, 2)),
    st.just(Outcome(Status.FAILED, failure=Failure(Reason.EXCEPTION, "ValueError", "no"))),
    st.just(Outcome(Status.CANCELLED)),
    st.just(Outcome(value=Payload(1, b"x", (Part(7, bytes(7)),)))),
)
_PLAIN = (TEMPLATES[0], 1.0, 1e9, "", ""), Outcome(value=Payload(1, b"ab"), agent="own")
_OTHERS = (
    *[(about, _PLAIN[1]) for about in [(TEMPLATES[1], *_PLAIN[0][1:]), (TEMPLATES[0], 2.0, *_PLAIN[0][2:])]],
    *[((TEMPLATES[0], 1.0, *rest), _PLAIN[1]) for rest in [(2e9, "", ""), (1e9, "n", ""), (1e9, "", "cancelling")]],
    *[((*_PLAIN[0][:4], kind), _PLAIN[1]) for kind in ("key", "callback")],
    *[
        (_PLAIN[0], Outcome(**{"value": Payload(1, b"ab"), "agent": "own", **other}))
        for other in (
            {"value": Payload(1, b"abc")},
            {"value": Payload(1, b"ab", (Part(7, bytes(7)),))},
            {"agent": "n"},
            {"hops": 1},
            {"attempts": 2},
            {"status": Status.CANCELLED},
            {"status": Status.FAILED, "failure": Failure(Reason.EXCEPTION, "ValueError", "no")},
        )
    ],
)
"""What differs from the plain one in one thing each."""
_Run = tuple[tuple[object, ...], Outcome, int]
_runs = st.lists(st.tuples(_operations, _outcomes, st.integers(1, 30)), min_size=1, max_size=6)


def _opened(ledger: Ledger, number: int, *about: object) -> Operation:
    template, at, wall, host, kind = about or (TEMPLATES[0], 0.0, 1e9, "", "")
    operation = Operation(number, template, at, at + 1e9, caller=1, ref=number, user="me", host=host)  # type: ignore[arg-type]
    operation.started_wall, operation.ended_wall, operation.is_ending = wall, 3e9, True  # type: ignore[assignment]
    operation.key = f"key-{number}" if kind == "key" else ""
    operation.callback = "http://there" if kind == "callback" else ""
    operation.is_cancelling = kind == "cancelling"
    ledger.open(operation)
    return operation


def _ended(ledger: Ledger, first: int, count: int, data: bytes = b"") -> None:
    """Have so many plain operations end together."""
    outcome = Outcome(value=Payload(1, data), agent="own")
    ledger.close_all([(_opened(ledger, number), outcome) for number in range(first, first + count)], 0.0)


def _told(ledger: Ledger, number: int) -> dict[str, object]:
    operation = ledger.get(number)
    assert operation is not None
    assert type(operation) is Operation
    return {name: value for name, value in asdict(operation).items() if name != "ref"}


def _end_both_ways(runs: list[_Run]) -> Ledger:
    """End all together, and one by one, and compare all that there is to know; gives the ledger of the former."""
    together, alone = Ledger(RETENTION), Ledger(RETENTION)
    ends, number = [], 0
    for about, outcome, count in runs:
        for _ in range(count):
            number += 1
            ends.append((_opened(together, number, *about), outcome))
            alone.close_all([(_opened(alone, number, *about), outcome)], 5.0)
    together.close_all(ends, 5.0)
    assert [*together.operations] == [*alone.operations]
    assert [_told(together, one) for one in together.operations] == [_told(alone, one) for one in alone.operations]
    assert (together.counts, together.keys) == (alone.counts, alone.keys)
    assert (together._kept, together._result_bytes) == (alone._kept, alone._result_bytes)
    return together


@pytest.mark.parametrize("other", _OTHERS)
def test_what_differs_in_one_thing_keeps_its_own(other: tuple[tuple[object, ...], Outcome]) -> None:
    """Before, between and behind others, alone and many."""
    plain = (*_PLAIN, 10)
    ledger = _end_both_ways([plain, (*other, 10), plain, (*other, 1), plain])
    assert sum(type(one) is Sheaf for one in ledger._spare) >= 2


@given(_runs)
@settings(max_examples=100, deadline=None)
def test_each_is_as_it_would_be_by_itself(runs: list[_Run]) -> None:
    """Whatever ends together: what is kept of each, and all that is counted, is as if they had ended one by one."""
    ledger = _end_both_ways(runs)
    numbers = (*ledger.operations,)
    assert numbers_of(ledger.expired(5.0 + max(UNREAD_S, RETENTION.age_s))) == numbers
    assert (ledger.operations, ledger.keys, ledger._kept, ledger._result_bytes) == ({}, {}, 0, 0)


def test_those_that_are_alike_take_little() -> None:
    """They lie in as few sheaves as there may be; with fewer than make one, or an agent that keeps little, in none."""
    ledger = Ledger(Retention(most=1000 * ROOM))
    _ended(ledger, 1, ALIKE_MOST + ALIKE_LEAST)
    assert [len(one.numbers) for one in ledger._spare if type(one) is Sheaf] == [ALIKE_MOST, ALIKE_LEAST]
    _ended(ledger, 10_000, ALIKE_LEAST - 1)
    assert type(ledger.operations[10_000]) is Operation
    little = Ledger(Retention(most=(ALIKE_LEAST - 1) * ROOM))
    _ended(little, 1, 100)
    light = Ledger(Retention(most=1000 * ROOM, bytes=99 * ROOM))
    _ended(light, 1, 100, b"x")
    assert {type(one) for one in (*little.operations.values(), *light.operations.values())} == {Operation}


def test_of_the_newest_no_more_go_than_a_sheaf_beyond_the_room() -> None:
    """What goes is the oldest, of what is kept nearly as much as may be is there, and of what went nothing is found."""
    ledger, most = Ledger(RETENTION), RETENTION.most
    room, last = most // ROOM, 0
    for _ in range(most // 10):
        _ended(ledger, last + 1, 29)
        last += 29
        gone = numbers_of(ledger.expired(0.0)) if ledger.is_over else ()
        assert gone == (*range(last - len(ledger.operations) + 1 - len(gone), last - len(ledger.operations) + 1),)
        assert not any(map(ledger.get, gone))
        assert ledger._kept == len(ledger.operations)
        assert len(ledger.operations) >= min(last, most - 2 * room)
    assert len(ledger.operations) <= most


def test_what_went_takes_no_memory_behind_one_that_stays() -> None:
    """In a line behind a result that nobody has read sheaves that are gone are few, and empty."""
    ledger = Ledger(RETENTION)
    unread = _opened(ledger, 1)
    ledger.close(unread, Outcome(), 0.0)
    for first in range(2, 30 * (FORGOTTEN_MOST + RETENTION.most), 20):
        _ended(ledger, first, 20)
        ledger.expired(0.0)
        assert len(ledger._ended) <= 1.5 * RETENTION.most / 20 + FORGOTTEN_MOST + 2
    gone = [one for one in ledger._ended if type(one) is Sheaf and one.id not in ledger.operations]
    assert gone
    assert not any(one.numbers or one.sizes for one in gone)
