"""What people are shown of an operation is of one moment: no end before it is on the disk."""

from __future__ import annotations

from agentd.core.journal.ledger import Operation
from agentd.daemon.showing.rows import Showing
from agentd.model.task import Failure, Outcome, Reason, Status, Template
from agentd.model.values import Codec, Payload
from tests.fakes.world import World

DONE = Outcome(Status.DONE, Payload(Codec.JSON, b"[1,2,3]"))
FAILED = Outcome(Status.FAILED, failure=Failure(Reason.EXCEPTION, "ValueError", "no"))


def showing() -> Showing:
    """Give what shows an agent on which nothing runs any more."""
    return Showing(World().add("own", 1).engine)


def test_a_result_is_not_shown_before_its_operation_has_ended() -> None:
    """Users' code may be done while the disk is not: until then it runs, and has neither value nor error."""
    operation = Operation(1, Template("m:f", durable=True), 0.0, 100.0)
    early = showing().operation(operation, DONE)
    assert (early.state, early.result, early.ended_at) == ("running", None, None)
    assert showing().operation(operation, FAILED).error is None
    operation.status = Status.DONE
    ended = showing().operation(operation, DONE)
    assert (ended.state, bytes(ended.result or b"")) == ("done", b"[1,2,3]")
