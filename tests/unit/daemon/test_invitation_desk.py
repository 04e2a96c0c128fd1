"""Invitations that were given out: one guest each, for a while, and words for everybody else."""

from __future__ import annotations

import pytest

from agentd.daemon.trust import invitations
from agentd.daemon.trust.invitations import Invitations
from agentd.model.errors import RequestError


class Desk(Invitations):
    def __init__(self) -> None:
        self.now = 100.0
        super().__init__(lambda: self.now)


def refusal(desk: Desk, secret: bytes, role: str = "peer") -> str:
    with pytest.raises(RequestError) as raised:
        desk.look(secret, role)
    assert raised.value.status == 403
    return str(raised.value)


def test_a_secret_opens_until_it_was_used():
    """Looking does not use it up; using it does, and who comes later learns by whom."""
    desk = Desk()
    secret, issued = desk.issue("peer", 600)
    assert desk.look(secret, "peer") is desk.look(secret, "peer") is issued
    issued.used_by = "beta"
    assert "used already, by beta" in refusal(desk, secret)


def test_time_ends_it_to_the_moment():
    """It is good for as long as it said, by agent time, and not a moment longer."""
    desk = Desk()
    secret, _ = desk.issue("peer", 600)
    desk.now += 599.999
    desk.look(secret, "peer")
    desk.now += 0.001
    assert "expired: it was good for 600 s" in refusal(desk, secret)
    assert desk.open() == []


def test_a_stranger_learns_nothing():
    """A secret that was never given out, also one that is almost right, is just not known."""
    desk = Desk()
    secret, _ = desk.issue("peer", 600)
    assert "knows no such invitation" in refusal(desk, secret[:-1] + bytes([secret[-1] ^ 1]))
    assert "knows no such invitation" in refusal(desk, b"")


@pytest.mark.parametrize(
    ("role", "other", "command"), [("peer", "user", "agentd join"), ("user", "peer", "agentd login")]
)
def test_each_is_for_its_own_door(role, other, command):
    """An invitation at the wrong door names the right one, and stays open."""
    desk = Desk()
    secret, _ = desk.issue(role, 600, name="ann")
    assert command in refusal(desk, secret, other)
    desk.look(secret, role)


def test_a_cancelled_one_is_void():
    """Nobody comes in by it, and it cannot be cancelled twice."""
    desk = Desk()
    secret, issued = desk.issue("peer", 600)
    desk.cancel(issued.identifier)
    assert "was cancelled" in refusal(desk, secret)
    with pytest.raises(RequestError, match="no invitation"):
        desk.cancel(issued.identifier)


def test_secrets_are_long_and_not_kept():
    """At least 128 bits, all different, and nothing that the desk holds contains one."""
    desk = Desk()
    given = {desk.issue("peer", 600)[0] for _ in range(50)}
    assert len(given) == 50
    assert all(len(secret) * 8 >= 128 for secret in given)
    assert not given & set(desk._issued)
    assert not any(secret.hex() in repr(desk.open()) for secret in given)


def test_there_is_an_end_to_what_is_kept(monkeypatch):
    """So many are open, so many are remembered; what is open is never dropped for what is past."""
    monkeypatch.setattr(invitations, "MOST_OPEN", 2)
    monkeypatch.setattr(invitations, "MOST_PAST", 3)
    desk = Desk()
    kept, _ = desk.issue("peer", 10_000)
    for _ in range(5):
        desk.issue("peer", 10)
        with pytest.raises(RequestError, match="are open, which is the most"):
            desk.issue("peer", 10)
        desk.now += 10
    assert len(desk._issued) <= 3
    desk.look(kept, "peer")


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 8 * 86_400, float("nan"), float("inf")])
def test_a_lifetime_that_makes_no_sense_is_refused(seconds):
    """An invitation that never ends would be a password."""
    with pytest.raises(RequestError, match="good for"):
        Desk().issue("peer", seconds)
