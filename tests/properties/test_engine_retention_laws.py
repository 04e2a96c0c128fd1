"""Laws of what is kept of ended operations: nothing that is wanted and young goes, nothing else grows without end."""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from agentd.core.journal.ledger import UNREAD_S, Ledger, Operation, Retention
from agentd.core.tasks.task import HERE, Path
from agentd.model.task import Outcome, Template
from agentd.model.values import Payload

EXAMPLES = int(os.environ.get("AGENTD_LAW_EXAMPLES", "200"))
MOST = 5
HOUR = 3600.0


class LedgerMachine(RuleBasedStateMachine):
    """A ledger that keeps five operations for two days at the most."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(Retention(most=MOST, age_s=48 * HOUR, bytes=1000))
        self.now = 0.0
        self.number = 0
        self.live: list[Operation] = []
        self.ended: dict[int, Operation] = {}

    @rule(has_key=st.booleans(), has_callback=st.booleans(), is_foreign=st.booleans())
    def open(self, *, has_key: bool, has_callback: bool, is_foreign: bool) -> None:
        """An operation is accepted."""
        self.number += 1
        operation = Operation(
            self.number,
            Template("m:f"),
            self.now,
            self.now,
            key=f"k{self.number}" if has_key else "",
            callback="http://there" if has_callback else "",
            path=Path("o", "n", 1, ("o",)) if is_foreign else HERE,
        )
        self.ledger.open(operation)
        self.live.append(operation)

    @precondition(lambda self: self.live)
    @rule(size=st.integers(0, 400))
    def end(self, size: int) -> None:
        """The oldest ends."""
        operation = self.live.pop(0)
        self.ledger.close(operation, Outcome(0, Payload(3, b"x" * size)), self.now)
        self.ended[operation.id] = operation

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """A result is read, delivered, called back: nobody wants it any more, but for its key."""
        operation = self.ended[data.draw(st.sampled_from(sorted(self.ended)))]
        operation.read_at, operation.is_delivered, operation.is_called_back = self.now, True, True
        self.ledger.spare(operation)

    @rule(hours=st.floats(0.1, 20))
    def wait(self, hours: float) -> None:
        """Time passes."""
        self.now += hours * HOUR

    @rule()
    def expire(self) -> None:
        """What may go goes."""
        for operation in self.ledger.expired(self.now):
            assert operation.id in self.ended, "a live one went"
            assert not operation.is_wanted or self.now - operation.ended_at >= UNREAD_S
            del self.ended[operation.id]
        young = [one for one in self.ended.values() if one.is_wanted and self.now - one.ended_at < UNREAD_S]
        others = len(self.ended) - len(young)
        assert others == 0 or not self.ledger.is_over
        assert all(self.now - one.ended_at < 48 * HOUR for one in self.ended.values())

    @invariant()
    def all_are_found(self) -> None:
        for operation in (*self.live, *self.ended.values()):
            assert self.ledger.get(operation.id) is operation
            if operation.key:
                assert self.ledger.known(operation.key, b"") is operation
        assert len(self.ledger.operations) == len(self.live) + len(self.ended)
        assert set(self.ledger.keys.values()) <= set(self.ledger.operations)


LedgerMachine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=50)
TestLedger = LedgerMachine.TestCase


def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that lets unread results go is caught."""
    monkeypatch.setattr("agentd.core.journal.ledger.UNREAD_S", 0.0)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            LedgerMachine, settings=settings(max_examples=2000, stateful_step_count=40, phases=[Phase.generate])
        )
