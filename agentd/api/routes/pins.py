"""TLS towards one agent whose certificate is known: nobody else is believed, whatever an authority says.

Law: nothing is sent to an agent before it has proven to hold the key of the certificate that is pinned.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl

from agentd.model.errors import Unreachable

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h): what is pinned ends when it is revoked, not by a clock."""
MISMATCH = "CERTIFICATE_VERIFY_FAILED"
"""What OpenSSL calls it when another certificate is shown."""


def pinned(certificate: str) -> ssl.SSLContext:
    """Give the context that accepts this certificate (PEM), and no other."""
    context = _context()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    context.load_verify_locations(cadata=certificate)
    return context


def certificate_at(address: str, fingerprint: bytes, timeout_s: float) -> str:
    """Ask whoever answers at `host:port` for its certificate, and give it as PEM if it has this fingerprint (sha256).

    Raises:
        Unreachable: nobody answers, or somebody else; nothing was sent.
    """
    host, _, port = address.rpartition(":")
    context = _context()
    context.verify_mode = ssl.CERT_NONE  # who it is, is seen below
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout_s) as plain,
            context.wrap_socket(plain) as connection,
        ):
            shown = connection.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise Unreachable(f"{address} cannot be reached: {error.strerror or error}") from error
    found = hashlib.sha256(shown).digest()
    if not hmac.compare_digest(found, fingerprint):
        raise Unreachable(
            f"whoever answers at {address} is not the agent that made the invitation (its certificate is "
            f"{found.hex()[:16]}…, not {fingerprint.hex()[:16]}…); nothing was sent there"
        )
    return ssl.DER_cert_to_PEM_cert(shown)


def mismatch(error: Exception) -> str:
    """Say what it means that another certificate was shown than the pinned one; empty for any other error."""
    if MISMATCH not in str(error):
        return ""
    return (
        "it shows another certificate than the one that was pinned; somebody is in between, or the agent was set up "
        "anew: ask for an invitation and use `agentd login` again"
    )


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the certificate itself is known, not a name
    return context
