"""What is kept of operations that have ended is bounded, and going over the bound is paid for seldom."""

from __future__ import annotations

from agentd.core.journal.ledger import FORGOTTEN_MOST, ROOM, Ledger, Operation, Retention
from agentd.model.task import Outcome, Template
from agentd.model.values import Payload

TEMPLATE = Template("m:f")


def _ended(ledger: Ledger, number: int, value: bytes = b"") -> Operation:
    """Have an operation of a session end, which has then read its result."""
    operation = Operation(number, TEMPLATE, 0.0, 0.0, caller=1)
    ledger.open(operation)
    ledger.close_all([(operation, Outcome(value=Payload(3, value)))], 0.0)
    return operation


def test_a_hundredth_goes_at_a_time() -> None:
    """With one more than may be kept the oldest go, until there is room for a hundredth; then none for as many ends."""
    most = 5 * ROOM
    ledger = Ledger(Retention(most=most))
    kept = [_ended(ledger, number) for number in range(1, most + 1)]
    assert ledger.expired(0.0) == []
    kept.append(_ended(ledger, most + 1))
    assert ledger.expired(0.0) == kept[:6]
    assert [*ledger.operations.values()] == kept[6:]
    for number in range(most + 2, most + 7):
        _ended(ledger, number)
        assert not ledger.is_over
    _ended(ledger, most + 7)
    assert ledger.is_over


def test_results_that_weigh_too_much_go_too() -> None:
    """A bound of bytes is kept in the same way, and what has gone weighs nothing any more."""
    ledger = Ledger(Retention(bytes=1000))
    kept = [_ended(ledger, number, b"x" * 100) for number in range(1, 12)]
    assert ledger.is_over
    assert ledger.expired(0.0) == kept[:2]
    assert not ledger.is_over


def test_no_more_go_at_once_than_may() -> None:
    """What is still too much has its turn at the next call."""
    ledger = Ledger(Retention(most=10))
    kept = [_ended(ledger, number) for number in range(1, 31)]
    assert ledger.expired(0.0, most=15) == kept[:15]
    assert ledger.expired(0.0, most=15) == kept[15:20]


def test_the_forgotten_do_not_pile_up() -> None:
    """Of operations that are forgotten as they come, as those of neighbours are, the lines keep a bounded number."""
    ledger = Ledger(Retention())
    unread = Operation(1, TEMPLATE, 0.0, 0.0)
    ledger.open(unread)
    ledger.close(unread, Outcome(), 0.0)
    for number in range(2, 3 * FORGOTTEN_MOST):
        ledger.forget(_ended(ledger, number))
        assert len(ledger._ended) <= FORGOTTEN_MOST + 2
        assert len(ledger._spare) <= FORGOTTEN_MOST + 2
    assert [*ledger.operations] == [1]
    assert ledger.expired(10 * 24 * 3600.0) == [unread]
