"""An invitation: one string by which somebody on another device is let in, once.

Law: reading what was written gives the same, whatever the case, spaces, line ends and dashes on the way; what was
mistyped is told from what was never an invitation, and from one of a later version.

The string is `agentd1_` and base32 (RFC 4648, without padding) of a version byte, a checksum, and a MessagePack body.
Base32, since it survives being read out, being wrapped, and a double click that is to select all of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agentd.model.errors import RequestError
from agentd.model.unreadable import UNREADABLE

PREFIX = "agentd1_"
VERSION = 1
SECRET_BYTES = 20
"""160 random bits, and a whole number of base32 signs; nobody guesses them within the ten minutes, or ever."""
MOST_CHARACTERS = 2_048
"""Longest string that is read as one (chosen: eight addresses with long names)."""
MOST_ADDRESSES = 8
"""Addresses of who invites (chosen: the networks that one device is in)."""
PEER, USER = "peer", "user"

_CHECK_BYTES = 4
"""Of the sum that tells a string that was copied wrongly (chosen: one in four billion passes)."""
_HEAD_BYTES = 1 + _CHECK_BYTES
_BETWEEN = re.compile(r"[\s-]+")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s/:@\[\]]+):(\d{1,5})")


class Invitation(Struct, frozen=True, array_like=True, kw_only=True):
    """What whoever is invited needs to know, and to prove."""

    role: str
    """`peer` for an agent, `user` for a person's programs."""
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=256)], ...], Meta(max_length=MOST_ADDRESSES)]
    """`host:port`, the best first: of Comm for a peer, of REST over TLS for a user."""
    fingerprint: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """sha256 of the certificate of the agent that invites: checked before the secret is sent."""
    secret: Annotated[bytes, Meta(min_length=16, max_length=64)]
    expires_at: int
    """Seconds since 1970, for people: the agent that invites decides, by a clock of its own."""
    name: Annotated[str, Meta(max_length=254)] = ""
    """Of the agent that invites."""

    def __repr__(self) -> str:
        """Show it without its secret, as in a log."""
        return f"<Invitation {self.role} {self.identifier} {' '.join(self.addresses)}>"

    @property
    def identifier(self) -> str:
        """By which it may be spoken of: tells nothing of the secret."""
        return identifier_of(self.secret)


def identifier_of(secret: bytes) -> str:
    """Give the name of a secret: 64 bits of its hash."""
    return hashlib.sha256(b"agentd invitation\0" + secret).hexdigest()[:16]


def write(invitation: Invitation) -> str:
    """Give the string."""
    body = msgspec.msgpack.encode(invitation)
    head = bytes([VERSION])
    packed = head + _checksum(head + body) + body
    return PREFIX + base64.b32encode(packed).decode("ascii").rstrip("=").lower()


def read(text: str) -> Invitation:
    """Read the string.

    Raises:
        RequestError: it is none, was mistyped or cut, or is of a version that is not understood here.
    """
    packed = _unpacked(text)
    version, check, body = packed[0], packed[1:_HEAD_BYTES], packed[_HEAD_BYTES:]
    if _checksum(packed[:1] + body) != check:
        raise RequestError("the invitation was mistyped or cut: copy all of it once more")
    if version != VERSION:
        raise RequestError(
            f"the invitation is of version {version}, and {VERSION} is understood here: update the older of the two"
        )
    try:
        invitation = msgspec.msgpack.decode(body, type=Invitation)
    except UNREADABLE as error:
        raise RequestError(f"the invitation cannot be understood: {error}") from error
    _check(invitation)
    return invitation


def is_address(text: str) -> bool:
    """Tell whether a text is `host:port`."""
    match = _ADDRESS.fullmatch(text)
    return match is not None and 0 < int(match[1]) < 65_536


def _unpacked(text: str) -> bytes:
    if len(text) > MOST_CHARACTERS * 2:
        raise RequestError(f"this is no invitation: it has more than {MOST_CHARACTERS} characters")
    plain = _BETWEEN.sub("", text).lower()
    if not plain.startswith(PREFIX):
        raise RequestError(
            f"this is no invitation: one begins with {PREFIX}; `agentd invite` on the other device makes it"
        )
    signs = plain.removeprefix(PREFIX).upper()
    try:
        packed = base64.b32decode(signs + "=" * (-len(signs) % 8))
    except (binascii.Error, ValueError) as error:
        raise RequestError("the invitation was mistyped or cut: copy all of it once more") from error
    if len(packed) <= _HEAD_BYTES:
        raise RequestError("the invitation was cut: copy all of it once more")
    return packed


def _check(invitation: Invitation) -> None:
    if invitation.role not in {PEER, USER}:
        raise RequestError(f"the invitation is for a {invitation.role[:40]!r}, which is not known here")
    if not invitation.addresses or not all(map(is_address, invitation.addresses)):
        raise RequestError("the invitation names no address that can be reached: ask for another one")


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECK_BYTES]
