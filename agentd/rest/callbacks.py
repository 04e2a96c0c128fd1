"""Which addresses may be called back when an operation ends; the calling itself is the agent's."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from agentd.rest.problems import invalid

METADATA = frozenset(
    {
        "metadata.google.internal",
        "metadata",
        "instance-data",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
    }
)
"""Where clouds tell a machine its secrets, beside the link-local 169.254.169.254."""

POINTER = "/callback/url"


def check_callback(url: str, allowed: tuple[str, ...]) -> str:
    """Give back an URL that may be called; `allowed` names hosts, with a port or for all ports.

    Raises:
        Problem: 422, not http or https, bears a password, or leads to a host that is not allowed.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise invalid(f"the callback is no URL: {error}", POINTER) from error
    if parts.scheme not in {"http", "https"} or not host:
        raise invalid("a callback is an URL that begins with http:// or https://", POINTER)
    if parts.username is not None or parts.password is not None:
        raise invalid("a callback bears no user name or password", POINTER)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise invalid("a callback is an URL of printable ASCII characters", POINTER)
    if is_never_called(host):
        raise invalid(f"{host} is never called back: it is of the link or of a cloud's metadata", POINTER)
    wanted = {host, f"{host}:{port or {'http': 80, 'https': 443}[parts.scheme]}"}
    if not wanted & {name.lower().rstrip(".") for name in allowed}:
        raise invalid(f"{host} may not be called back: the operator allows it with --callback-host {host}", POINTER)
    return url


def is_never_called(host: str) -> bool:
    """Tell whether a name or an address is link-local, of a cloud's metadata, or no single host at all."""
    if host in METADATA:
        return True
    try:
        ip: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved or str(ip) in METADATA
