"""Addresses of this device and of others, as text."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

REST_PORT, COMM_PORT = 46101, 46102
"""Where an agent listens for users and for other agents if nothing else is said; COMPSs' own defaults."""


def is_loopback(host: str) -> bool:
    """Tell whether an address stays on this device, IPv4 in IPv6 included; no name but localhost is trusted to."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
