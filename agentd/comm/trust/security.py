"""Whether, and how, a TCP connection is made secret, and who is at its other end: the one place where TLS is decided.

Law: nothing plain leaves the device unless the operator said `--insecure`; and a certificate is worth what the book of
paired agents says of it, byte for byte.

There is no authority that could vouch for a name, so the anchors of trust are the certificates of the book themselves.
TLS lets in who can prove to have the key of one of them; which one it was, and whether it is still trusted, is read
from the connection and decided in the admission. Certificates of revoked agents stay anchors for who dials us, so that
they get an answer that says so, instead of a connection that just ends.
"""

from __future__ import annotations

import ssl
from functools import cached_property
from pathlib import Path
from typing import Any

from agentd.model.addresses import is_loopback
from agentd.model.errors import ConfigError, RequestError
from agentd.model.peers import CERTIFICATE_BYTES, NOBODY, Peer, PinBook, fingerprint_of

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h): a pinned certificate ends by revocation. A device without a clock
would otherwise be locked out, and so would all devices in twenty years."""


class Security:
    """What protects TCP connections; Unix sockets need nothing.

    Attributes:
        insecure: the operator takes the risk of plain connections beyond loopback.
        book: the agents that this one was paired with.
    """

    def __init__(self, identity: Path | None = None, book: PinBook = NOBODY, *, insecure: bool = False) -> None:
        self.insecure = insecure
        self.book = book
        self._identity = identity

    @property
    def has_identity(self) -> bool:
        """Tell whether this agent has a key and a certificate, without which there is no TLS."""
        return self._identity is not None

    def trust(self, book: PinBook) -> None:
        """Go by another book from the next connection on; those that there are, are the caller's to close."""
        self.book = book
        for name in ("accepting", "dialling"):
            self.__dict__.pop(name, None)

    # --- what a connection needs ----------------------------------------------------------------------------------

    def check_listening(self, host: str) -> None:
        """Refuse a port that would be open to other devices without protection.

        Raises:
            ConfigError: it would.
        """
        if not (is_loopback(host) or self.insecure or self.has_identity):
            raise ConfigError(f"listening on {host} {_UNPROTECTED}")

    def may_be_plain(self, host: str) -> bool:
        """Tell whether somebody at an address may speak to us without TLS."""
        return self.insecure or is_loopback(host)

    def for_dialling(self, host: str, name: str, address: str) -> ssl.SSLContext | None:
        """Give the TLS context for a connection to a neighbour; None for plain.

        Whom we are paired with is spoken to over TLS wherever it is, so that nobody else of its device can pose as it.

        Raises:
            ConfigError: it would leave the device without protection.
        """
        if self.has_identity and (self.book.named(name) is not None or self.book.at(address) is not None):
            return self.dialling
        if self.may_be_plain(host):
            return None
        if self.has_identity:
            return self.dialling
        raise ConfigError(f"connecting to {host} {_UNPROTECTED}")

    def dialled(self, certificate: bytes, name: str) -> Peer | None:
        """Tell which trusted peer we have reached; None for nobody whom we meant."""
        found = self.book.with_certificate(fingerprint_of(certificate))
        meant = self.book.named(name)
        if found is None or not found.is_trusted or (meant is not None and meant != found):
            return None
        return found

    # --- contexts -------------------------------------------------------------------------------------------------

    @cached_property
    def accepting(self) -> ssl.SSLContext:
        """For who dials us: it may bring a certificate, which must then be one of the book, revoked or not."""
        context = _with_identity(ssl.PROTOCOL_TLS_SERVER, self._identity)
        context.verify_mode = ssl.CERT_OPTIONAL
        _anchor(context, [peer.certificate for peer in self.book.peers])
        return context

    @cached_property
    def dialling(self) -> ssl.SSLContext:
        """For whom we dial: we show our certificate once it has shown one that is trusted."""
        context = _with_identity(ssl.PROTOCOL_TLS_CLIENT, self._identity)
        _anchor(context, [peer.certificate for peer in self.book.peers if peer.is_trusted])
        return context


_UNPROTECTED = (
    "without TLS is refused, since anybody on the way could read and forge: "
    "pair the devices (agentd invite, agentd join), stay on 127.0.0.1, or give --insecure"
)


def serving(identity: Path) -> ssl.SSLContext:
    """Give the context of the user port: our certificate, and none is asked for, as users bring tokens.

    Raises:
        ConfigError: the identity cannot be read.
    """
    return _with_identity(ssl.PROTOCOL_TLS_SERVER, identity)


def asking() -> ssl.SSLContext:
    """Give the context of a guest: whoever answers is let say who it is, and is checked before a byte is sent."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_NONE
    return context


def certificate_of(transport: Any) -> bytes | None:
    """Give the certificate (DER) that the other end of a TLS transport has proven to hold the key of; None for none."""
    connection = transport.get_extra_info("ssl_object")
    return None if connection is None else connection.getpeercert(binary_form=True)


def check_certificate(der: bytes) -> None:
    """Insist that bytes are one certificate and nothing else, before they become an anchor of trust.

    Raises:
        RequestError: they are not.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if not 0 < len(der) <= CERTIFICATE_BYTES:
            raise RequestError(f"a certificate has up to {CERTIFICATE_BYTES} bytes, and this has {len(der)}")
        context.load_verify_locations(cadata=der)
        # What is loaded may be one certificate with more behind it, of which only the first would be pinned.
        is_one = context.cert_store_stats()["x509"] == 1 and len(der) == _length(der)
    except (ssl.SSLError, ValueError, IndexError):
        is_one = False
    if not is_one:
        raise RequestError("what was brought as a certificate is none")


def _length(der: bytes) -> int:
    """Give the length of the DER value that begins here (X.690, 8.1.3)."""
    first = der[1]
    if first < 0x80:
        return 2 + first
    count = first & 0x7F
    return 2 + count + int.from_bytes(der[2 : 2 + count], "big")


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # a name would prove nothing: the certificate itself is what is known
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    return context


def _with_identity(protocol: int, identity: Path | None) -> ssl.SSLContext:
    assert identity is not None, "whoever asks for TLS has looked whether there is an identity"
    context = _context(protocol)
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # who comes back shows its certificate again
    try:
        context.load_cert_chain(identity)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{identity} is no key with its certificate ({error}): put the former content back, or remove it to get a "
            "new identity"
        ) from error
    return context


def _anchor(context: ssl.SSLContext, certificates: list[bytes]) -> None:
    if certificates:
        context.load_verify_locations(cadata=b"".join(certificates))
