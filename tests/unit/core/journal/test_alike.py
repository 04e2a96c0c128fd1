"""What is written of ends as one says of each what would have been written of it alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.journal.alike import ALIKE_BYTES, ALIKE_LEAST, ALIKE_MOST, entries_of, runs_of
from agentd.core.journal.entries import Asked, Ended, EndedAlike
from agentd.core.journal.ledger import Operation
from agentd.model.task import Failure, Outcome, Reason, Status, Template
from agentd.model.values import Part, Payload

TEMPLATES = Template("m:f", durable=True), Template("m:g", durable=True)
ASKED = Asked("m:f", 1.0, 2.0), Asked("m:f", 1.5, 2.0), None

_kinds = st.tuples(
    st.sampled_from(TEMPLATES),
    st.sampled_from((1.0, 2.0)),
    st.sampled_from(ASKED),
    st.sampled_from(("", "", "", "key", "callback", "cancelling")),
)
_outcomes = st.one_of(
    st.builds(
        Outcome,
        value=st.builds(Payload, st.integers(1, 2), st.binary(max_size=3)),
        seconds=st.sampled_from((0.0, 0.5)),
        agent=st.sampled_from(("own", "n")),
        hops=st.integers(0, 1),
        attempts=st.integers(1, 2),
    ),
    st.just(Outcome(Status.CANCELLED)),
    st.just(Outcome(Status.FAILED, failure=Failure(Reason.EXCEPTION, "ValueError", "no"))),
    st.just(Outcome(value=Payload(1, b"x", (Part(7, bytes(7)),)))),
    st.just(Outcome(value=Payload(1, b"x"), output_bytes=3)),
    st.just(Outcome(made=(Payload(1, b"x"),))),
    st.just(Outcome(value=Payload(1, bytes(ALIKE_BYTES // 12)))),
)


def _operation(number: int, template: Template, at_s: float, kind: str) -> Operation:
    operation = Operation(number, template, at_s, at_s + 1e9, caller=1)
    operation.started_wall = at_s + 5.0
    operation.key = f"key-{number}" if kind == "key" else ""
    operation.callback = "http://there" if kind == "callback" else ""
    operation.is_cancelling = kind == "cancelling"
    return operation


def _plain(count: int, size: int = 2) -> list[tuple[Operation, Outcome]]:
    outcome = Outcome(value=Payload(1, bytes(size)), agent="own")
    return [(_operation(number, TEMPLATES[0], 1.0, ""), outcome) for number in range(1, count + 1)]


@given(st.lists(st.tuples(_kinds, _outcomes, st.integers(1, 20)), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_each_is_told_as_it_would_be_alone(
    kinds: list[tuple[tuple[Template, float, Asked, str], Outcome, int]],
) -> None:
    """Whatever ends together, in the order in which it did."""
    ended, asked = [], []
    for (template, at_s, its_own, kind), outcome, count in kinds:
        for _ in range(count):
            ended.append((_operation(len(ended) + 1, template, at_s, kind), outcome))
            asked.append(its_own)
    runs = [*runs_of(ended, asked)]
    assert [begin for begin, _ in runs] == [0, *(end for _, end in runs[:-1])]
    assert runs[-1][1] == len(ended)
    told = []
    for entry in entries_of(ended, asked, runs, 3.0, 4.0):
        told += entry.each() if isinstance(entry, EndedAlike) else [entry]
    assert told == [
        Ended(operation.id, outcome, 3.0, 4.0, operation.started_wall, its_own)
        for (operation, outcome), its_own in zip(ended, asked, strict=True)
    ]


@pytest.mark.parametrize(
    "other",
    [
        Outcome(value=Payload(2, b"ab"), agent="own"),
        Outcome(value=Payload(1, b"ab"), agent="n"),
        Outcome(value=Payload(1, b"ab"), agent="own", hops=1),
        Outcome(value=Payload(1, b"ab"), agent="own", attempts=2),
        Outcome(Status.CANCELLED, Payload(1, b"ab"), agent="own"),
    ],
)
def test_what_differs_in_one_thing_is_of_another_run(other: Outcome) -> None:
    """Before, between and behind others."""
    plain = _plain(30)
    ended = [*plain[:10], *((operation, other) for operation, _ in plain[10:20]), *plain[20:]]
    assert [*runs_of(ended)] == [(0, 10), (10, 20), (20, 30)]


def test_those_that_are_alike_are_one_entry() -> None:
    """As many as may go at once; fewer than make one, and much that is to be read, stand one by one."""

    def sizes(ended: list[tuple[Operation, Outcome]]) -> list[int]:
        asked = [None] * len(ended)
        entries = entries_of(ended, asked, [*runs_of(ended, asked)], 3.0, 4.0)
        return [len(one.operations) if isinstance(one, EndedAlike) else 1 for one in entries]

    assert sizes(_plain(ALIKE_LEAST)) == [ALIKE_LEAST]
    assert sizes(_plain(ALIKE_MOST + ALIKE_LEAST)) == [ALIKE_MOST, ALIKE_LEAST]
    assert sizes(_plain(ALIKE_LEAST - 1)) == [1] * (ALIKE_LEAST - 1)
    assert sizes(_plain(16, ALIKE_BYTES // 16)) == [16]
    assert sizes(_plain(16, ALIKE_BYTES // 16 + 1)) == [1] * 16
