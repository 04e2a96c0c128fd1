"""The invitations that this agent has given out, each good for one guest, for a while.

Law: a secret lets in one guest at the most, and none after its time, which is told by agent time: the wall clock may
jump. Only hashes of secrets are kept, in memory: a restart voids what was not used.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from msgspec import Struct

from agentd.model.errors import RequestError
from agentd.wire.invitation import SECRET_BYTES, identifier_of

MOST_OPEN = 100
"""Invitations that may be open at a time. Chosen: more are given out by a program, and by mistake."""
MOST_PAST = 1_000
"""Invitations that are remembered after their end, to say what became of them."""
SHORTEST_S, LONGEST_S = 1.0, 7 * 24 * 3600.0
AGAIN = "ask for another one: `agentd invite` makes it"


class Issued(Struct):
    """One invitation, without its secret."""

    identifier: str
    role: str
    name: str
    """Of the user that is invited; for an agent what it is to be called here, empty for the name that it has."""
    scope: str
    """Of the user that is invited."""
    expires_at: float
    """Agent time."""
    lifetime_s: float
    used_by: str = ""
    """Who came in; empty for nobody yet."""
    is_cancelled: bool = False

    def is_open(self, now: float) -> bool:
        """Tell whether somebody may still come in by it."""
        return not self.used_by and not self.is_cancelled and now < self.expires_at


class Invitations:
    """All invitations of one run of the agent; `now` gives agent time in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._issued: dict[bytes, Issued] = {}
        """By the secret's hash, oldest first."""

    def issue(self, role: str, lifetime_s: float, *, name: str = "", scope: str = "") -> tuple[bytes, Issued]:
        """Make an invitation, and give its secret, this once.

        Raises:
            RequestError: the lifetime makes no sense, or too many are open.
        """
        if not SHORTEST_S <= lifetime_s <= LONGEST_S:
            raise RequestError(f"an invitation is good for {SHORTEST_S:g} to {LONGEST_S:g} seconds")
        now = self._now()
        if len(self.open()) >= MOST_OPEN:
            raise RequestError(f"{MOST_OPEN} invitations are open, which is the most: wait, or restart the agent")
        while len(self._issued) >= MOST_PAST:
            self._issued.pop(next(hashed for hashed, each in self._issued.items() if not each.is_open(now)))
        secret = secrets.token_bytes(SECRET_BYTES)
        issued = Issued(identifier_of(secret), role, name, scope, now + lifetime_s, lifetime_s)
        self._issued[_hash(secret)] = issued
        return secret, issued

    def open(self) -> list[Issued]:
        """List those by which somebody may still come in."""
        now = self._now()
        return [issued for issued in self._issued.values() if issued.is_open(now)]

    def look(self, secret: bytes, role: str) -> Issued:
        """Give the open invitation of a secret; it stays open until `used_by` is set.

        Raises:
            RequestError: 403, there is none, and why.
        """
        issued = self._issued.get(_hash(secret))
        if issued is None:
            raise _refused("this agent knows no such invitation: it was made before its last start, or somewhere else")
        if issued.used_by:
            raise used_already(issued.used_by)
        if issued.is_cancelled:
            raise _refused("the invitation was cancelled")
        if self._now() >= issued.expires_at:
            raise _refused(f"the invitation has expired: it was good for {issued.lifetime_s:g} s")
        if issued.role != role:
            command = "agentd login" if issued.role == "user" else "agentd join"
            raise _refused(f"the invitation is for a {issued.role}: use it with `{command}`")
        return issued

    def cancel(self, identifier: str) -> None:
        """Void an invitation.

        Raises:
            RequestError: 404, none of that name is open.
        """
        for issued in self.open():
            if issued.identifier == identifier:
                issued.is_cancelled = True
                return
        raise RequestError(f"no invitation {identifier!r} is open", status=404)

    def seconds_left(self, issued: Issued) -> float:
        """Tell how long it may still be used."""
        return max(0.0, issued.expires_at - self._now())


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def used_already(name: str) -> RequestError:
    """Say that somebody came in by an invitation before."""
    return _refused(
        f"the invitation was used already, by {name}, and lets in one only; if that was somebody whom you do not know, "
        "revoke what it was given"
    )


def _refused(reason: str) -> RequestError:
    return RequestError(f"{reason}; {AGAIN}", status=403)
