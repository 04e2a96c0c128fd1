"""The routes of trust as values: invitations, peers, and logging in at an agent of another device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from agentd.api import logins
from agentd.api.places import Place
from agentd.api.routes import pins
from agentd.api.routes.requests import JSON, Answer, Request
from agentd.api.routes.tables import Rows
from agentd.model.errors import RequestError, Unreachable
from agentd.model.views import InvitationView, LoginView, PeerView
from agentd.wire import invitation as strings

if TYPE_CHECKING:
    from agentd.api.logins import Login

REACH_S = 5.0
"""How long an address of an invitation may take to answer. Chosen."""


class _Peers(Struct, frozen=True):
    peers: list[PeerView]


class _Invitations(Struct, frozen=True):
    invitations: list[InvitationView]


def invite(
    role: str, name: str, scope: str, expires_s: float | None, addresses: Sequence[str]
) -> Request[InvitationView]:
    """Make an invitation."""
    body = {"role": role, "name": name, "scope": scope, "expires_s": expires_s, "addresses": list(addresses)}
    return _json("POST", "/v1/invitations", body, InvitationView)


def invitations() -> Request[Rows[InvitationView]]:
    """List the invitations that are open."""
    return Request("GET", "/v1/invitations", lambda answer: Rows(_as(_Invitations)(answer).invitations))


def cancel_invitation(identifier: str) -> Request[None]:
    """Void an invitation."""
    return Request("DELETE", f"/v1/invitations/{quote(identifier, safe='')}", lambda _: None)


def join(invitation: str, name: str, *, link: bool, is_parent: bool) -> Request[PeerView]:
    """Use another agent's invitation."""
    body = {"invitation": invitation, "name": name, "link": link, "is_parent": is_parent}
    return _json("POST", "/v1/peers", body, PeerView)


def peers() -> Request[Rows[PeerView]]:
    """List the peers."""
    return Request("GET", "/v1/peers", lambda answer: Rows(_as(_Peers)(answer).peers))


def change_peer(name: str, new_name: str | None, limits: Mapping[str, Any] | None) -> Request[PeerView]:
    """Name or limit a peer."""
    return _json("POST", f"/v1/peers/{quote(name, safe='')}", {"name": new_name, "limits": limits}, PeerView)


def revoke_peer(name: str, reason: str) -> Request[PeerView]:
    """Trust a peer no more."""
    query = urlencode({"reason": reason}) if reason else ""
    return Request("DELETE", f"/v1/peers/{quote(name, safe='')}?{query}".rstrip("?"), _as(PeerView))


def forget_peer(name: str) -> Request[None]:
    """Strike a revoked peer out of the book."""
    return Request("DELETE", f"/v1/peers/{quote(name, safe='')}?forget=true", lambda _: None)


def login(text: str) -> Login:
    """Use an invitation for a person: keep the agent's certificate and a token for it in the config folder.

    Raises:
        RequestError: the string is none, or the agent refused, and why.
        Unreachable: no address leads to the agent that made the invitation.
        ConfigError: the login cannot be kept.
    """
    invitation = strings.read(text)
    if invitation.role != strings.USER:
        raise RequestError("this invitation is for an agent: use it with `agentd join`")
    logins.logins()  # whoever cannot keep what is given must not use the invitation up
    failures = []
    for address in invitation.addresses:
        try:
            certificate = pins.certificate_at(address, invitation.fingerprint, REACH_S)
        except Unreachable as error:
            failures.append(str(error))
            continue
        return _log_in(f"https://{address}", certificate, invitation.secret)
    hint = f"see that {invitation.name} runs, with --rest-tls and --rest-host 0.0.0.0, and that no firewall is between"
    raise Unreachable(f"{'; '.join(failures)}; {hint}")


def check_for_agents(text: str) -> None:
    """See that an invitation can be one for an agent, before any agent is asked.

    Raises:
        RequestError: it is none, or for a person.
    """
    if strings.read(text).role != strings.PEER:
        raise RequestError("this invitation is for a person's programs: use it with `agentd login`")


def _log_in(url: str, certificate: str, secret: bytes) -> Login:
    from agentd.api.routes.client import Agent  # it names this module's requests

    request = _json("POST", "/v1/login", {"secret": secret.hex()}, LoginView)
    with Agent(Place(url=url, certificate=certificate)) as agent:
        given = agent.send(request)
    made = logins.Login(
        url=url, agent=given.agent, user=given.name, scope=given.scope, certificate=certificate, token=given.token
    )
    logins.remember(made)
    return made


def _json(method: str, path: str, body: Any, kind: type[Any]) -> Request[Any]:
    return Request(method, path, _as(kind), msgspec.json.encode(body), {"content-type": JSON})


def _as(kind: type[Any]) -> Any:
    decoder = msgspec.json.Decoder(kind)

    def read(answer: Answer) -> Any:
        return decoder.decode(answer.body)

    return read
