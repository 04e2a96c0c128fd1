"""Who is trusted: the agents that this one was paired with, and what each of them may ask for.

Law: a certificate stands for one agent, an agent for one certificate, and no two agents that are trusted bear the same
name. The book is a value: a change gives another book, so what is trusted is what was last written.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from agentd.model.errors import RequestError

MOST_PEERS = 1_000
"""Agents that one agent can be paired with, revoked ones included. Chosen: each is an anchor of every handshake."""
MOST_FUNCTIONS = 256
"""Names in the list of functions that a peer may ask for. Chosen: a page that a person still reads."""
CERTIFICATE_BYTES = 4_096
"""Largest certificate; one with an elliptic key takes about 400 bytes. Chosen."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?")
MOST_ADDRESSES = 8
"""At which a peer is remembered to have been met, the latest first. Chosen: as many as an invitation has."""
NAME_RULE = "letters, digits, dots, dashes and underscores, at most 254"

Text = Annotated[str, Meta(max_length=256)]


class Limits(Struct, frozen=True, omit_defaults=True):
    """What a peer may ask of this agent; by default any work, and nothing else."""

    functions: Annotated[tuple[Text, ...], Meta(max_length=MOST_FUNCTIONS)] = ()
    """The only functions that it may have run here: `module:function`, or `module` for all of one; empty: any."""
    max_tasks: int | None = None
    """Tasks of its that may wait or run here at a time."""
    submit_upward: bool = True
    """It may give this agent work at all; if not, it only lends."""
    may_stop: bool = False
    """It may make this agent stop."""

    @property
    def is_none(self) -> bool:
        """Tell whether it may give any work."""
        return not self.functions and self.max_tasks is None and self.submit_upward

    @property
    def is_confined(self) -> bool:
        """Tell whether it may not have just anything run here: then it has a right only to values that it was given."""
        return bool(self.functions) or not self.submit_upward

    def forbids(self, function: str, *, is_by_name: bool) -> str | None:
        """Tell why a function may not be run for the peer; None if it may.

        `is_by_name` tells that neither function nor program came along: those could do anything.
        """
        if not self.submit_upward:
            return "it may lend to this agent, and give it no work (submit-upward no)"
        if not self.functions:
            return None
        if not is_by_name:
            return f"it may bring no code along, and call only {', '.join(self.functions)}"
        if function in self.functions or function.partition(":")[0] in self.functions:
            return None
        return f"it may call only {', '.join(self.functions)}"


NO_LIMITS = Limits()


class Peer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One agent that this one was paired with."""

    name: Annotated[str, Meta(max_length=254)]
    """By which this agent knows it."""
    agent_id: Text
    certificate: Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES)]
    """DER."""
    addresses: Annotated[tuple[Text, ...], Meta(max_length=16)] = ()
    """`host:port` at which it was met, or said that it listens, the best first; empty: it dials us."""
    paired_at: float = 0.0
    """Seconds since 1970, for people."""
    invitation: Text = ""
    """Identifier of the invitation by which it came in; empty where we were invited."""
    limits: Limits = NO_LIMITS
    revoked: Annotated[str, Meta(max_length=1_024)] = ""
    """Why it is trusted no more; empty while it is."""

    @property
    def fingerprint(self) -> str:
        """What is pinned: sha256 of the certificate, in hexadecimal."""
        return fingerprint_of(self.certificate)

    @property
    def is_trusted(self) -> bool:
        """Tell whether it was not revoked."""
        return not self.revoked


def fingerprint_of(certificate: bytes) -> str:
    """Give sha256 of a certificate in DER, in hexadecimal."""
    return hashlib.sha256(certificate).hexdigest()


class PinBook(Struct, frozen=True):
    """All agents that this one was paired with, in the order in which that happened."""

    peers: Annotated[tuple[Peer, ...], Meta(max_length=MOST_PEERS)] = ()

    def named(self, name: str) -> Peer | None:
        """Give the trusted peer of a name."""
        return next((peer for peer in self.peers if peer.name == name and peer.is_trusted), None)

    def with_certificate(self, fingerprint: str) -> Peer | None:
        """Give the peer of a certificate, revoked or not."""
        return next((peer for peer in self.peers if peer.fingerprint == fingerprint), None)

    def claimed(self, name: str, agent_id: str) -> Peer | None:
        """Give the peer, revoked or not, that somebody without a certificate would pass for."""
        return next((peer for peer in self.peers if peer.agent_id == agent_id), None) or self.named(name)

    def at(self, address: str) -> Peer | None:
        """Give the trusted peer that said that it listens at `host:port`."""
        return next((peer for peer in self.peers if peer.is_trusted and address in peer.addresses), None)

    def of(self, agent_id: str) -> Peer | None:
        """Give the trusted peer of an id."""
        return next((peer for peer in self.peers if peer.agent_id == agent_id and peer.is_trusted), None)

    def met(self, agent_id: str, address: str) -> PinBook:
        """Note where a trusted peer can be dialled, as the best of its addresses; the same book if that is known."""
        peer = self.of(agent_id)
        if peer is None or address == next(iter(peer.addresses), ""):
            return self
        return self._changed(peer, replace(peer, addresses=_latest((address, *peer.addresses))))

    def invited_by(self, invitation: str) -> Peer | None:
        """Give the peer that came in by an invitation."""
        return next((peer for peer in self.peers if invitation and peer.invitation == invitation), None)

    def objection(self, peer: Peer) -> str | None:
        """Tell why an agent cannot be paired with; None if it can."""
        if not _NAME.fullmatch(peer.name):
            return f"{peer.name[:80]!r} is no name of an agent: it has {NAME_RULE}"
        for other in self.peers:
            same_agent, same_certificate = other.agent_id == peer.agent_id, other.fingerprint == peer.fingerprint
            if other.is_trusted and same_agent != same_certificate:
                what = "id, with another certificate" if same_agent else "certificate, under another id"
                return f"{other.name} is paired already under the same {what}: `agentd peers revoke {other.name}` first"
        if len(self._others(peer)) >= MOST_PEERS:
            return f"{MOST_PEERS} agents are in the book, which is the most: `agentd peers forget NAME` makes room"
        return None

    def add(self, peer: Peer) -> PinBook:
        """Trust an agent from now on; a name that is taken gets a number.

        What was said of one that is trusted already goes on to hold: its limits, and where else it was met.

        Raises:
            RequestError: it cannot be paired with.
        """
        reason = self.objection(peer)
        if reason is not None:
            raise RequestError(reason)
        others = self._others(peer)
        taken = {other.name for other in others if other.is_trusted}
        names = (peer.name, *(f"{peer.name[:248]}-{number}" for number in range(2, MOST_PEERS + 2)))
        name = next(name for name in names if name not in taken)
        known = self.of(peer.agent_id) or peer
        addresses = _latest((*peer.addresses, *known.addresses))
        return PinBook((*others, replace(peer, name=name, addresses=addresses, limits=known.limits, revoked="")))

    def rename(self, name: str, new: str) -> PinBook:
        """Call a trusted peer something else.

        Raises:
            RequestError: there is no such peer, or the new name is none or taken.
        """
        peer = self.get(name)
        if not _NAME.fullmatch(new):
            raise RequestError(f"{new[:80]!r} is no name of an agent: it has {NAME_RULE}")
        if new != name and self.named(new) is not None:
            raise RequestError(f"there is a peer {new} already: take another name")
        return self._changed(peer, replace(peer, name=new))

    def limit(self, name: str, limits: Limits) -> PinBook:
        """Set what a trusted peer may ask for.

        Raises:
            RequestError: there is no such peer, or the limits make no sense.
        """
        check_limits(limits)
        peer = self.get(name)
        return self._changed(peer, replace(peer, limits=limits))

    def revoke(self, name: str, reason: str) -> PinBook:
        """Trust a peer no more; it stays in the book, so that it can be told.

        Raises:
            RequestError: there is no such peer.
        """
        assert reason, "whoever is revoked is told why"
        peer = self.get(name)
        return self._changed(peer, replace(peer, revoked=reason))

    def forget(self, name: str) -> PinBook:
        """Strike out what was revoked under a name.

        Raises:
            RequestError: nothing was.
        """
        left = tuple(peer for peer in self.peers if peer.is_trusted or peer.name != name)
        if len(left) == len(self.peers):
            hint = "revoke it first" if self.named(name) else "`agentd peers` lists them"
            raise RequestError(f"no peer {name!r} is revoked: {hint}", status=404)
        return PinBook(left)

    def get(self, name: str) -> Peer:
        """Give a trusted peer by name.

        Raises:
            RequestError: there is none.
        """
        peer = self.named(name)
        if peer is None:
            revoked = next((each for each in self.peers if each.name == name), None)
            if revoked is not None:
                raise RequestError(f"the pairing with {name} was revoked already: {revoked.revoked}", status=404)
            known = ", ".join(sorted(each.name for each in self.peers if each.is_trusted)) or "none yet"
            raise RequestError(f"this agent is not paired with any {name!r}; it is with: {known}", status=404)
        return peer

    def _others(self, peer: Peer) -> tuple[Peer, ...]:
        """List the peers that are somebody else; of the same agent no more than the newest entry is kept."""
        return tuple(
            other for other in self.peers if other.agent_id != peer.agent_id and other.fingerprint != peer.fingerprint
        )

    def _changed(self, peer: Peer, changed: Peer) -> PinBook:
        return PinBook(tuple(changed if each is peer else each for each in self.peers))


def _latest(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(addresses))[:MOST_ADDRESSES]


NOBODY = PinBook()


def check_limits(limits: Limits) -> None:
    """Refuse limits that make no sense.

    Raises:
        RequestError: says which, and what is expected.
    """
    for function in limits.functions:
        if not _is_function(function):
            raise RequestError(f"{function[:80]!r} is no function: write module:function, or module for all of one")
    if len(limits.functions) > MOST_FUNCTIONS:
        raise RequestError(f"{len(limits.functions)} functions are named, and {MOST_FUNCTIONS} are the most")
    if limits.max_tasks is not None and not 0 <= limits.max_tasks <= 1 << 31:
        raise RequestError(f"max-tasks {limits.max_tasks}: give a number from 0, or none for no limit")


def _is_function(text: str) -> bool:
    """Tell whether a text is `module` or `module:function`, in identifiers."""
    module, colon, function = text.partition(":")
    return all(map(str.isidentifier, module.split("."))) and (not colon or function.isidentifier())
