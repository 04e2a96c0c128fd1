"""Outcomes at hand: so many bytes of the latest, and none of an operation that is forgotten."""

from __future__ import annotations

from typing import cast

from agentd.daemon.users.results import OVERHEAD_BYTES, Results
from agentd.model.task import Outcome
from agentd.model.values import Codec, Payload
from agentd.store.journal import Journal
from agentd.store.objects import Objects


def results(outcomes: float, value_bytes: int = 100) -> Results:
    """Make room for so many outcomes of so many bytes."""
    most = int(outcomes * (value_bytes + OVERHEAD_BYTES))
    return Results(cast("Journal", None), cast("Objects", None), most)


def outcome(value_bytes: int = 100) -> Outcome:
    """Make one that went well."""
    return Outcome(value=Payload(Codec.PICKLE, b"x" * value_bytes))


def test_the_oldest_make_room() -> None:
    """As many are at hand as there is room for, whatever came before."""
    kept = results(3.5)
    for operation in range(10):
        kept.remember(operation, outcome())
    assert [one for one in range(10) if kept.at_hand(one) is not None] == [7, 8, 9]


def test_what_is_forgotten_is_not_at_hand_and_leaves_its_room() -> None:
    """An operation that is gone costs no memory: the next ones stay for longer."""
    kept = results(3.5)
    for operation in range(3):
        kept.remember(operation, outcome())
    for operation in (1, 2, 1, 77):
        kept.forget_all([operation])
    for operation in (10, 11):
        kept.remember(operation, outcome())
    assert [one for one in range(20) if kept.at_hand(one) is not None] == [0, 10, 11]


def test_one_that_is_larger_than_all_room_stays_on_the_disk() -> None:
    """Nothing else has to go for it."""
    kept = results(3.5)
    kept.remember(1, outcome())
    kept.remember(2, outcome(10_000))
    assert kept.at_hand(1) is not None
    assert kept.at_hand(2) is None
