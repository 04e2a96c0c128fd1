"""Who may come in, and as what: the answer to HELLO, decided without touching a socket.

Law: being on the same device proves nothing; being the same user of it does, up to the scope that the operator gave.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agentd.comm.trust.security import Security
from agentd.model.addresses import is_loopback
from agentd.model.peers import Peer, fingerprint_of
from agentd.model.users import BY_TOKEN, LOCAL
from agentd.wire.messages import Hello
from agentd.wire.terms import Terms, agreed_version

_NAME = re.compile(r"[\w.:@%\[\]-]{1,255}")
"""Names reach terminals, logs and pages: nothing there may steer them."""
_SESSION = re.compile(r"[0-9a-f]{32}")
_HOW_TO_COME_IN = "`agentd invite --user NAME` here makes a string for `agentd login` there, `agentd token add` a token"


def is_name(*words: str) -> bool:
    """Tell whether words can stand for an agent wherever they are shown."""
    return all(_NAME.fullmatch(word) for word in words)


def program_of(hello: Hello, user: str) -> str:
    """Name the session of a user's program over all of its connections; empty for one that does not come back.

    The number that it says is known to nobody else, and another user's is another session.
    """
    session = hello.capabilities.get("session")
    return f"{session} of {user}" if isinstance(session, str) and _SESSION.fullmatch(session) else ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from.

    Attributes:
        local: it came over the Unix socket.
        host: address of the other end; empty for the Unix socket.
        uid: user id of the process at the other end; None when the kernel does not tell.
        is_secret: TLS protects it.
        certificate: DER of which the other end has proven to hold the key; None for none.
    """

    local: bool
    host: str
    uid: int | None
    is_secret: bool = False
    certificate: bytes | None = None

    @property
    def is_on_device(self) -> bool:
        """Tell whether the other end is on this device."""
        return self.local or is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Grant:
    """Welcome, with this scope; `peer` for an agent, and if it was paired with, what the book says of it.

    `user` is the name of a user, the same as at the user port.
    """

    scope: str
    peer: Peer | None = None
    user: str = ""


@dataclass(frozen=True, slots=True)
class Denial:
    """Not welcome: a code for programs, and for people a reason and what to do."""

    code: str
    reason: str
    remedy: str = ""


class Admission:
    """The rules of this agent's Comm door.

    `identify` gives name and scope of a bearer token, or None; `uid` is the agent's own user id; `security` has the
    book of paired agents.
    """

    def __init__(
        self,
        *,
        uid: int,
        local_access: str = "code",
        identify: Callable[[str], tuple[str, str] | None] = lambda _: None,
        security: Security | None = None,
    ) -> None:
        self._uid = uid
        self._local_access = local_access
        self._identify = identify
        self._security = security or Security()

    def judge(self, hello: Hello, origin: Origin, terms: Terms) -> Grant | Denial:
        """Decide on a HELLO."""
        if agreed_version(terms, hello) is None:
            return Denial(
                "version",
                f"you speak versions {hello.protocol_min} to {hello.protocol_max} of the protocol, "
                f"this agent {terms.protocol_min} to {terms.protocol_max}",
                "bring the older of the two programs up to date",
            )
        if hello.role == "user":
            return self._judge_user(hello, origin)
        if not is_name(hello.name, hello.agent_id, hello.boot):
            return Denial(
                "identity",
                f"name {hello.name!r}, id {hello.agent_id!r} or boot {hello.boot!r} cannot be taken",
                "use letters, digits and . _ : @ % [ ] - only",
            )
        return self._judge_guest(origin) if hello.role == "guest" else self._judge_peer(hello, origin)

    def _judge_user(self, hello: Hello, origin: Origin) -> Grant | Denial:
        if hello.token:
            known = self._identify(hello.token)
            if known is None:
                return Denial("forbidden", "the token is not known here, or was revoked", _HOW_TO_COME_IN)
            return self._with_scope(known[1], BY_TOKEN + known[0])
        if origin.is_on_device and origin.uid == self._uid:
            return self._with_scope(self._local_access, LOCAL)
        return Denial("forbidden", "a token is needed: this is not the agent's own user", "give one in HELLO")

    def knows(self, token: str, scope: str) -> bool:
        """Tell whether a token that let somebody in still gives that scope."""
        known = self._identify(token)
        return known is not None and known[1] == scope

    @staticmethod
    def _with_scope(scope: str, user: str) -> Grant | Denial:
        if scope in {"none", "peer", ""}:
            return Denial("forbidden", f"scope {scope or 'none'} gives a user no access here", "use a token for more")
        return Grant(scope, user=user)

    @staticmethod
    def _judge_guest(origin: Origin) -> Grant | Denial:
        """Let a guest show its invitation, which is judged elsewhere, and only where nobody else can have read it."""
        if not origin.is_secret:
            return Denial("forbidden", "an invitation travels over TLS only: take this one for known to others")
        return Grant("guest")

    def _judge_peer(self, hello: Hello, origin: Origin) -> Grant | Denial:
        if origin.certificate is not None:
            return self._judge_certificate(hello, origin.certificate)
        claimed = self._security.book.claimed(hello.name, hello.agent_id)
        if claimed is not None:
            why = f"revoked: {claimed.revoked}" if claimed.revoked else "known by its certificate, over TLS"
            return Denial("forbidden", f"agent {claimed.name} is {why}", "pair the two devices anew")
        if self._security.insecure or (origin.is_on_device and origin.uid == self._uid):
            return Grant("peer")
        if origin.is_on_device:
            return Denial("forbidden", "this is an agent of another user of the device", "pair the two: agentd invite")
        return Denial("forbidden", "this agent does not know you", "pair the two devices: agentd invite, agentd join")

    def _judge_certificate(self, hello: Hello, certificate: bytes) -> Grant | Denial:
        """Decide by the book: its word goes before everything else, also on the same device."""
        peer = self._security.book.with_certificate(fingerprint_of(certificate))
        if peer is None:
            return Denial(
                "forbidden", "this agent was not paired with you", "agentd invite on the one, join on the other"
            )
        if peer.revoked:
            return Denial("forbidden", f"the pairing was revoked: {peer.revoked}", "ask its operator for an invitation")
        if peer.agent_id != hello.agent_id:
            return Denial("identity", "your certificate was pinned for another agent id", "pair the two devices anew")
        return Grant("peer", peer)
