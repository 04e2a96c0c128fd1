"""Addresses of agents: how they are written, and which one an agent gives of itself.

Law: an agent names an address of itself only to who can have reached it there, and believes one of another agent only
as far as the connection shows it.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentd.model.addresses import is_loopback

_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - it is compared, not bound


@dataclass(frozen=True, slots=True)
class Met:
    """Where a paired agent was met.

    Attributes:
        agent_id: who it is.
        address: `host:port` at which it can be dialled.
        dialled_as: by which name we dialled it there; empty where it came to us.
    """

    agent_id: str
    address: str
    dialled_as: str = ""


def joined(host: str, port: int) -> str:
    """Write host and port as one text."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def host_of(address: str) -> str:
    """Give the host of `host:port`, without the brackets of IPv6."""
    return address.rpartition(":")[0].strip("[]")


def split(address: str) -> tuple[str, int]:
    """Give host and port of `host:port`."""
    return host_of(address), int(address.rpartition(":")[2])


def told(bound: str, own: str, other: str) -> str:
    """Say where an agent that listens at `bound` is reached by who sees it at its address `own` from `other`.

    Empty: it cannot be, as it listens on its own device only, or nowhere.
    """
    host, _, port = bound.rpartition(":")
    if not host or (is_loopback(host.strip("[]")) and not is_loopback(other)):
        return ""
    return joined(own, int(port)) if host.strip("[]") in _ANYWHERE else bound


def is_shown(address: str, where: str) -> bool:
    """Tell whether an agent that says to listen at `address` came from that very host, as `where` shows."""
    return bool(address) and host_of(address) == host_of(where)
