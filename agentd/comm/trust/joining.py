"""Coming in with an invitation: one connection, on which the other end proves who it is before it learns the secret.

Law: not a byte is written before the certificate was found to be the one that the invitation names.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from agentd.comm.settings import CommSettings
from agentd.comm.trust.security import asking, certificate_of
from agentd.comm.whereabouts import host_of
from agentd.model.addresses import is_loopback
from agentd.model.errors import PeerError, RequestError, Unreachable
from agentd.wire.invitation import Invitation
from agentd.wire.messages import Hello, HelloAck
from agentd.wire.session import Session
from agentd.wire.terms import Side

_READ_BYTES = 65_536
"""Taken from the socket at a time (chosen: one frame of the handshake is far smaller)."""


class Imposter(Unreachable):
    """Somebody else answers at an address of the invitation; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Host:
    """The agent that has let us in.

    Attributes:
        ack: what it said of itself.
        certificate: DER, whose key it has proven to hold.
        address: `host:port` at which it was reached.
    """

    ack: HelloAck
    certificate: bytes
    address: str


async def join(invitation: Invitation, hello: Callable[[str, str], Hello], settings: CommSettings) -> Host:
    """Try the addresses of an invitation, one after the other, until an agent lets us in.

    `hello` makes our introduction, given our own and the other end's host on that connection. Cancelled, it closes the
    connection; whether we were let in is then not known.

    Raises:
        RequestError: the agent refused, and why; or no address leads to it: what happened at each.
    """
    failures = []
    for address in invitation.addresses:
        try:
            return await _join_at(address, invitation, hello, settings)
        except Unreachable as error:
            failures.append(str(error))
    raise RequestError(f"{'; '.join(failures)}. {_hint(invitation)}", status=503)


def _hint(invitation: Invitation) -> str:
    if all(is_loopback(host_of(address)) for address in invitation.addresses):
        return (
            f"The invitation names an address that only the device of {invitation.name} reaches: start that agent with "
            "--comm-host 0.0.0.0, and make another one"
        )
    return (
        f"See that {invitation.name} runs and that no firewall is between; `agentd invite --address HOST[:PORT]` there "
        "names another way to it"
    )


async def _join_at(
    address: str, invitation: Invitation, hello: Callable[[str, str], Hello], settings: CommSettings
) -> Host:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        async with asyncio.timeout(settings.dial_s):
            reader, writer = await asyncio.open_connection(
                host, int(port), ssl=asking(), ssl_shutdown_timeout=settings.linger_s
            )
    except TimeoutError as error:
        raise Unreachable(f"{address} does not answer within {settings.dial_s:g} s") from error
    except OSError as error:
        raise Unreachable(f"{address} cannot be reached: {error.strerror or error}") from error
    try:
        certificate = _checked(certificate_of(writer.transport), invitation, address)
        own = writer.get_extra_info("sockname")
        ack = await _ask(reader, writer, hello(own[0] if own else "", host), settings)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise RequestError(
            f"{address} did not answer: the invitation may be used up by now; look at `agentd peers` there, and if "
            "this agent is not in it, ask for another one",
            status=503,
        ) from error
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
    if not ack.ok:
        raise RequestError(f"{address} refused: {ack.reason or ack.code}; {ack.remedy}".rstrip("; "), status=403)
    return Host(ack, certificate, address)


def _checked(certificate: bytes | None, invitation: Invitation, address: str) -> bytes:
    """Insist on the certificate that the invitation names.

    Raises:
        Imposter: it is another one.
    """
    shown = hashlib.sha256(certificate or b"").digest()
    if certificate is None or not hmac.compare_digest(shown, invitation.fingerprint):
        raise Imposter(
            f"whoever answers at {address} is not the agent that made the invitation (its certificate is "
            f"{shown.hex()[:16]}…, not {invitation.fingerprint.hex()[:16]}…); nothing was sent there"
        )
    return certificate


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello, settings: CommSettings
) -> HelloAck:
    """Introduce ourselves, and give the answer, favourable or not."""
    loop = asyncio.get_running_loop()
    session = Session(Side.DIALLER, settings.terms(local=False), loop.time())
    async with asyncio.timeout(settings.hello_s * 2):
        for pieces in session.send(hello, loop.time()):
            writer.writelines(pieces)
        await writer.drain()
        while True:
            data = await reader.read(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the other end closed the connection")
            try:
                messages = list(session.receive(data, loop.time()))
            except PeerError as error:
                raise RequestError(f"what answers there is no agent of this kind: {error}", status=503) from error
            if messages and isinstance(messages[0], HelloAck):
                return messages[0]
