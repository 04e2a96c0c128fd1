"""The addresses by which other devices may reach this one."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from pathlib import Path

from agentd.comm.whereabouts import joined

MOST = 4
"""Addresses in one invitation, when nobody says which. Chosen: a machine with bridges and tunnels has many more."""
_ROUTES = Path("/proc/net/fib_trie")
_LOCAL = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses that nobody has (RFC 5737, RFC 3849): asking for the way there sends nothing."""


def reachable(host: str, port: int) -> list[str]:
    """Give `host:port` for each address at which a port that listens on `host` is reached, the likeliest first."""
    if host not in {"0.0.0.0", "::", ""}:  # noqa: S104 - it is compared, not bound
        return [joined(host, port)]
    families = (socket.AF_INET6,) if host == "::" else (socket.AF_INET,)
    hosts = [_way_out(family, elsewhere) for family, elsewhere in _ELSEWHERE if family in families]
    if socket.AF_INET in families:
        hosts += _all_local()
    wanted = [each for each in dict.fromkeys(hosts) if each and not ipaddress.ip_address(each).is_loopback]
    return [joined(each, port) for each in wanted[:MOST]]


def _way_out(family: int, elsewhere: str) -> str:
    """Give the address that this machine uses towards others; empty when it has none."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((elsewhere, 9))
        return str(probe.getsockname()[0])
    return ""


def _all_local() -> list[str]:
    """List the machine's IPv4 addresses, as its routing table has them (proc(5))."""
    with suppress(OSError):
        return _LOCAL.findall(_ROUTES.read_text("ascii", "replace"))
    return []


def reachable_here(url: str) -> str:
    """Give the URL by which programs of this device reach what listens at `url`, where that is everywhere."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
