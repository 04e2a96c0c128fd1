"""Who sends more than is got through waits; who does not, does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from agentd.comm.ends.floodgate import SHARE_BYTES, Floodgate

UNREAD = 1000


class User:
    """As much of a link as the gate looks at."""

    def __init__(self, sent: int, *, shared: int = 0, calls: int = 1) -> None:
        self.burden_bytes = sent
        self.shared_bytes = shared
        self.pending_bytes = 0
        self.is_closed = False
        self.is_reading = True
        self.session = SimpleNamespace(received_open=calls)

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class House:
    """A gate before a queue that is full or not."""

    def __init__(self) -> None:
        self.is_full = False
        self.gate = Floodgate(lambda: self.is_full, UNREAD)

    def sends(self, user: Any) -> bool:
        """Let a user send calls; tells whether it may go on."""
        self.gate.look(user)
        return user.is_reading


def test_only_who_fills_a_full_queue_waits() -> None:
    """A small share is never held up, however it was sent; a large one is, until there is room."""
    house = House()
    light, heavy, sharing = User(SHARE_BYTES), User(SHARE_BYTES + 1), User(0, shared=SHARE_BYTES + 1)
    assert all(house.sends(user) for user in (light, heavy, sharing))
    house.is_full = True
    assert [house.sends(user) for user in (light, heavy, sharing)] == [True, False, False]
    house.gate.open()
    assert not heavy.is_reading
    house.is_full = False
    house.gate.open()
    assert heavy.is_reading
    assert sharing.is_reading
    assert not house.gate.is_closed


def test_who_does_not_read_results_is_not_read_either() -> None:
    """However empty the queue, until what waits for it has been taken."""
    house, user = House(), User(SHARE_BYTES + 1)
    user.pending_bytes = UNREAD + 1
    assert not house.sends(user)
    user.pending_bytes = UNREAD
    house.gate.open()
    assert user.is_reading


def test_nobody_waits_for_nothing() -> None:
    """A user whose calls have all ended goes on though the queue is full of others'; one that left is forgotten."""
    house = House()
    house.is_full = True
    done, gone = User(SHARE_BYTES + 1), User(SHARE_BYTES + 1)
    assert not house.sends(done)
    assert not house.sends(gone)
    done.session.received_open = 0
    gone.is_closed = True
    house.gate.open()
    assert done.is_reading
    assert not house.gate.is_closed
