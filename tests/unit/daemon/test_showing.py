"""What people are shown of an operation is of one moment: no end before it is on the disk."""

from __future__ import annotations

import pytest

from agentd.core.journal.ledger import Operation
from agentd.daemon.showing.rows import Showing
from agentd.model.task import Failure, Outcome, Reason, Status, Template
from agentd.model.values import Codec, Part, Payload
from tests.fakes.world import World

DONE = Outcome(Status.DONE, Payload(Codec.JSON, b"[1,2,3]"))
FAILED = Outcome(Status.FAILED, failure=Failure(Reason.EXCEPTION, "ValueError", "no"))


def showing() -> Showing:
    """Give what shows an agent on which nothing runs any more."""
    return Showing(World().add("own", 1).engine)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(value=Payload(Codec.BYTES, b"", (Part(250_000_000, None, 1),)), agent="far", attempts=2), "250.0 MB"),
        (Outcome(Status.FAILED, failure=FAILED.failure, agent="far", attempts=2), "its end is being written"),
    ],
)
def test_an_operation_that_is_being_written_says_so(outcome: Outcome, words: str) -> None:
    """Where it ran, how often, and what it waits for: its code has ended, and nobody is told how before it is safe."""
    operation = Operation(1, Template("m:f", durable=True), 0.0, 100.0, outcome=outcome, is_ending=True)
    shown = showing().operation(operation)
    assert (shown.state, shown.ran_on, shown.attempts, shown.result, shown.error) == ("running", "far", 2, None, None)
    assert words in shown.reason
    assert shown.reason.endswith("written to the disk")
    operation.status, operation.outcome, operation.is_ending = Status.DONE, None, False
    assert showing().operation(operation).reason == ""


def test_a_result_is_not_shown_before_its_operation_has_ended() -> None:
    """Users' code may be done while the disk is not: until then it runs, and has neither value nor error."""
    operation = Operation(1, Template("m:f", durable=True), 0.0, 100.0)
    early = showing().operation(operation, DONE)
    assert (early.state, early.result, early.ended_at) == ("running", None, None)
    assert showing().operation(operation, FAILED).error is None
    operation.status = Status.DONE
    ended = showing().operation(operation, DONE)
    assert (ended.state, bytes(ended.result or b"")) == ("done", b"[1,2,3]")
