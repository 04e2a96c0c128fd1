"""How long an agent that went away is waited for."""

from __future__ import annotations

import pytest

from agentd.api.calls.connection import NotWelcome
from agentd.api.calls.dialogue import Refused
from agentd.api.calls.recovery import LARGEST_DELAY_S, Recovery
from agentd.model.errors import Unreachable
from agentd.wire.messages import HelloAck

GONE = Unreachable("nobody there")


def delays(recovery: Recovery, error=GONE) -> list[float]:
    """Dial, wait as told, dial again, until told to give up."""
    now, waited = 100.0, []
    while (delay := recovery.delay_s(error, now)) is not None:
        waited.append(delay)
        now += delay
    return waited


def test_attempts_become_rarer_and_end_with_the_patience():
    """Delays double up to a limit, and together they are the patience, no more and no less."""
    waited = delays(Recovery(10.0))
    assert waited[:3] == [0.05, 0.1, 0.2]
    assert max(waited) == LARGEST_DELAY_S
    assert sum(waited) == pytest.approx(10.0)


def test_without_patience_nobody_waits():
    """The first failure is the verdict."""
    assert delays(Recovery(0.0)) == []


def test_each_loss_has_a_patience_of_its_own():
    """A connection that came back begins anew."""
    recovery = Recovery(1.0)
    first = delays(recovery)
    recovery.begin(ConnectionResetError("reset"))
    assert delays(recovery) == first


def test_a_refusal_is_final_unless_it_may_pass():
    """An agent that drains or is full is asked again; one that does not want us is not."""
    final = NotWelcome(Refused(HelloAck(code="forbidden", reason="not you")))
    passing = NotWelcome(Refused(HelloAck(code="draining", reason="stopping")))
    assert delays(Recovery(1.0), final) == []
    assert delays(Recovery(1.0), passing) != []


def test_the_verdict_names_the_address_and_both_reasons():
    """Whoever waited learns what was lost and what the last attempt said; each gets an exception of his own."""
    recovery = Recovery(1.0)
    recovery.begin(ConnectionResetError("the agent closed the connection"))
    delays(recovery)
    verdict = recovery.verdict("/run/agent.sock")
    assert isinstance(verdict, Unreachable)
    for words in ("/run/agent.sock", "closed the connection", "nobody there", "1 s"):
        assert words in str(verdict)
    assert recovery.verdict("/run/agent.sock") is not verdict
