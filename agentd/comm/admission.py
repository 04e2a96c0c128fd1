"""Who may come in, and as what: the answer to HELLO, decided without touching a socket.

Law: being on the same device proves nothing; being the same user of it does, up to the scope that the operator gave.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agentd.comm.security import is_loopback
from agentd.wire.messages import Hello
from agentd.wire.terms import Terms, agreed_version

_NAME = re.compile(r"[\w.:@%\[\]-]{1,255}")
"""Names reach terminals, logs and pages: nothing there may steer them."""


def is_name(*words: str) -> bool:
    """Tell whether words can stand for an agent wherever they are shown."""
    return all(_NAME.fullmatch(word) for word in words)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from.

    Attributes:
        local: it came over the Unix socket.
        host: address of the other end; empty for the Unix socket.
        uid: user id of the process at the other end; None when the kernel does not tell.
    """

    local: bool
    host: str
    uid: int | None

    @property
    def is_on_device(self) -> bool:
        """Tell whether the other end is on this device."""
        return self.local or is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Grant:
    """Welcome, with this scope; `peer` for an agent."""

    scope: str


@dataclass(frozen=True, slots=True)
class Denial:
    """Not welcome: a code for programs, and for people a reason and what to do."""

    code: str
    reason: str
    remedy: str = ""


class Admission:
    """The rules of this agent's Comm door.

    `identify` gives name and scope of a bearer token, or None; `uid` is the agent's own user id.
    """

    def __init__(
        self,
        *,
        uid: int,
        local_access: str = "code",
        identify: Callable[[str], tuple[str, str] | None] = lambda _: None,
        insecure: bool = False,
    ) -> None:
        self._uid = uid
        self._local_access = local_access
        self._identify = identify
        self._insecure = insecure

    def judge(self, hello: Hello, origin: Origin, terms: Terms) -> Grant | Denial:
        """Decide on a HELLO."""
        if agreed_version(terms, hello) is None:
            return Denial(
                "version",
                f"you speak versions {hello.protocol_min} to {hello.protocol_max} of the protocol, "
                f"this agent {terms.protocol_min} to {terms.protocol_max}",
                "bring the older of the two programs up to date",
            )
        if hello.role == "peer":
            return self._judge_peer(hello, origin)
        return self._judge_user(hello, origin)

    def _judge_user(self, hello: Hello, origin: Origin) -> Grant | Denial:
        if hello.token:
            known = self._identify(hello.token)
            if known is None:
                return Denial("forbidden", "the token is not known", "make one: agentd token add NAME --scope submit")
            return self._with_scope(known[1])
        if origin.is_on_device and origin.uid == self._uid:
            return self._with_scope(self._local_access)
        return Denial("forbidden", "a token is needed: this is not the agent's own user", "give one in HELLO")

    @staticmethod
    def _with_scope(scope: str) -> Grant | Denial:
        if scope in {"none", "peer", ""}:
            return Denial("forbidden", f"scope {scope or 'none'} gives a user no access here", "use a token for more")
        return Grant(scope)

    def _judge_peer(self, hello: Hello, origin: Origin) -> Grant | Denial:
        if not is_name(hello.name, hello.agent_id, hello.boot):
            return Denial(
                "identity",
                f"name {hello.name!r}, id {hello.agent_id!r} or boot {hello.boot!r} cannot be taken",
                "use letters, digits and . _ : @ % [ ] - only",
            )
        if self._insecure or (origin.is_on_device and origin.uid == self._uid):
            return Grant("peer")
        if origin.is_on_device:
            return Denial("forbidden", "this is an agent of another user of the device", "run both as one user")
        return Denial("forbidden", "this agent does not know you", "link through an SSH tunnel to its port")
