"""Trust in memory: the REST door's pairing without a key, a disk or a network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from agentd.daemon.trust.invitations import Invitations
from agentd.model.errors import RequestError
from agentd.model.peers import Limits, Peer, PinBook
from agentd.model.views import InvitationView, LoginView, PeerView
from agentd.wire import invitation as strings

CERTIFICATE = b"\x30\x03\x02\x01\x00"


class MemoryPairing:
    """Invites, lets in whoever knows a secret, and keeps the book."""

    def __init__(self) -> None:
        self.book = PinBook()
        self._invitations = Invitations(lambda: 0.0)

    def invite(
        self, role: str, name: str, scope: str, lifetime_s: float | None, addresses: list[str]
    ) -> InvitationView:
        where = addresses or ["192.0.2.7:46102"]
        secret, issued = self._invitations.issue(role, 600.0 if lifetime_s is None else lifetime_s, name=name)
        made = strings.Invitation(
            role=role,
            addresses=tuple(where),
            fingerprint=hashlib.sha256(CERTIFICATE).digest(),
            secret=secret,
            expires_at=0,
        )
        return InvitationView(issued.identifier, role, name, scope, issued.lifetime_s, where, strings.write(made))

    def invitations(self) -> list[InvitationView]:
        return [
            InvitationView(each.identifier, each.role, each.name, each.scope, each.lifetime_s)
            for each in self._invitations.open()
        ]

    def cancel_invitation(self, identifier: str) -> None:
        self._invitations.cancel(identifier)

    async def login(self, secret: bytes, where: str) -> LoginView:
        issued = self._invitations.look(secret, strings.USER)
        issued.used_by = issued.name
        return LoginView(issued.name, issued.scope, "agentd_made-up", "here")

    async def join(self, text: str, name: str, *, link: bool, is_parent: bool) -> PeerView:
        invitation = strings.read(text)
        if invitation.role != strings.PEER:
            raise RequestError("this invitation is for a person's programs")
        self.book = self.book.add(
            Peer(
                name=name or "beta", agent_id="id-beta", certificate=CERTIFICATE, addresses=tuple(invitation.addresses)
            )
        )
        return self.peers()[-1]

    def peers(self) -> list[PeerView]:
        return [_view(peer) for peer in self.book.peers]

    async def change(self, name: str, new_name: str | None, limits: Callable[[Limits], Limits] | None) -> PeerView:
        if limits is not None:
            self.book = self.book.limit(name, limits(self.book.get(name).limits))
        if new_name is not None:
            self.book = self.book.rename(name, new_name)
        return _view(self.book.get(new_name or name))

    async def revoke(self, name: str, reason: str) -> PeerView:
        self.book = self.book.revoke(name, reason or "no reason given")
        return self.peers()[-1]

    async def forget(self, name: str) -> None:
        self.book = self.book.forget(name)


def _view(peer: Peer) -> PeerView:
    return PeerView(
        name=peer.name,
        agent_id=peer.agent_id,
        fingerprint=peer.fingerprint,
        state="revoked" if peer.revoked else "not linked",
        addresses=list(peer.addresses),
        paired_at=peer.paired_at,
        functions=list(peer.limits.functions),
        max_tasks=peer.limits.max_tasks,
        submit_upward=peer.limits.submit_upward,
        may_stop=peer.limits.may_stop,
        revoked=peer.revoked,
    )
