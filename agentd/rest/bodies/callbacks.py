"""Which addresses may be called back when an operation ends; the calling itself is the agent's."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from agentd.rest.answering.problems import invalid

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
    why = objection(url, allowed)
    if why:
        raise invalid(why, POINTER)
    return url


def objection(url: str, allowed: tuple[str, ...]) -> str:
    """Say why an URL may not be called; empty when it may."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        return f"the callback is no URL: {error}"
    if parts.scheme not in {"http", "https"} or not host:
        return "a callback is an URL that begins with http:// or https://"
    if parts.username is not None or parts.password is not None:
        return "a callback bears no user name or password"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "a callback is an URL of printable ASCII characters"
    if is_never_called(host):
        return f"{host} is never called back: it is of the link or of a cloud's metadata"
    wanted = {host, f"{host}:{port or {'http': 80, 'https': 443}[parts.scheme]}"}
    if not wanted & {name.lower().rstrip(".") for name in allowed}:
        return f"{host} may not be called back: the operator allows it with --callback-host {host}"
    return ""


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
