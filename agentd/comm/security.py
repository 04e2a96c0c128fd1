"""Whether, and how, a TCP connection is made secret: the one place where TLS is decided.

Law: nothing plain leaves the device unless the operator said `--insecure`.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass

from agentd.model.errors import ConfigError


def is_loopback(host: str) -> bool:
    """Tell whether an address stays on this device; a name other than localhost is not trusted to."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


@dataclass(frozen=True, slots=True)
class Security:
    """What protects TCP connections; Unix sockets need nothing."""

    accepting: ssl.SSLContext | None = None
    """TLS 1.3 with pinned peers, for who dials us."""
    dialling: ssl.SSLContext | None = None
    """The same, for whom we dial."""
    insecure: bool = False
    """The operator takes the risk of plain connections beyond loopback."""

    def for_listening(self, host: str) -> ssl.SSLContext | None:
        """Give the TLS context for a port on `host`; None for plain.

        Raises:
            ConfigError: the port would be open to other devices without protection.
        """
        return self._checked(host, self.accepting, "listening on")

    def for_dialling(self, host: str) -> ssl.SSLContext | None:
        """Give the TLS context for a connection to `host`; None for plain.

        Raises:
            ConfigError: it would leave the device without protection.
        """
        return self._checked(host, self.dialling, "connecting to")

    def _checked(self, host: str, context: ssl.SSLContext | None, doing: str) -> ssl.SSLContext | None:
        if is_loopback(host):
            return None
        if context is None and not self.insecure:
            raise ConfigError(
                f"{doing} {host} without TLS is refused, since anybody on the way could read and forge: "
                "stay on 127.0.0.1, go through an SSH tunnel, or give --insecure"
            )
        return context
