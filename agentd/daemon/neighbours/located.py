"""Where neighbours are: what the operator says, what the book knows, and what connections show.

Law: a paired agent is known by its certificate. Wherever that is shown, the agent is found: its address is noted in the
book, and the pool follows it, under the name that the book gives it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agentd.comm.whereabouts import joined, split
from agentd.core import events as e
from agentd.model.addresses import COMM_PORT
from agentd.model.errors import RequestError
from schedulers.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentd.comm.trust.security import Security
    from agentd.comm.whereabouts import Met
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.model.peers import Peer

log = logging.getLogger("agentd.pairing")


def located(security: Security, pooled: Iterable[str], name: str, properties: dict[str, str]) -> dict[str, str]:
    """Complete where a neighbour is by what the book knows, and see that it may be dialled.

    `pooled` are the names of the hosts that there are.

    Raises:
        RequestError: it is on another device and not paired with; says what to run on which of the two.
    """
    if "Host" in properties:  # an address of IPv6 as it stands in a URL is one, too
        properties = {**properties, "Host": properties["Host"].removeprefix("[").removesuffix("]")}
    peer = security.book.named(name)
    if peer is not None and "Host" not in properties and peer.addresses:
        return {**placed(peer.addresses[0]), **properties}
    if "Host" not in properties and name in pooled:
        return properties  # it grows, where it is
    _insist_on_pairing(security, name, properties.get("Host", name), int(properties.get("Port", COMM_PORT)))
    return properties


def placed(address: str) -> dict[str, str]:
    """Give the properties that say `host:port`."""
    host, port = split(address)
    return {"Host": host, "Port": str(port)}


def _insist_on_pairing(security: Security, name: str, host: str, port: int) -> None:
    """Refuse an agent of another device that is not paired with."""
    where, book = joined(host, port), security.book
    if book.named(name) or book.at(where) or security.may_be_plain(host):
        return
    paired = ", ".join(each.name for each in book.peers if each.is_trusted)
    revoked = next((each.revoked for each in book.peers if each.name == name and each.revoked), "")
    hints = [f" The pairing with {name} was revoked: {revoked}."] if revoked else []
    hints += [f" Paired already, by other names: {paired}."] if paired else []
    raise RequestError(
        f"{name} at {where} is not paired with this agent, so nothing is sent there. Run "
        f"`agentd invite` on {host}, then `agentd join` with the string that it prints on this device."
        f"{''.join(hints)}"
    )


def followed(met: Met, peer: Peer, rows: dict[str, Neighbour]) -> list[e.Event]:
    """Give what changes in the pool when a peer was met: it is where it was reached, under the name of the book.

    `rows` are the hosts of the pool, by name.
    """
    if not met.dialled_as:
        return []  # it came to us, which says nothing of the address that the operator chose
    known, other = rows.get(peer.name), rows.get(met.dialled_as)
    properties = tuple(sorted(placed(met.address).items()))
    if other is None or other.name == peer.name:
        return [] if known is None or _is_at(known, met.address) else [_moved(known, met.address)]
    log.warning("the neighbour %s at %s is %s, and is linked by that name", other.name, met.address, peer.name)
    gone = e.ResourceRemoved(0, other.name, lost=False)
    if known is not None:
        return [gone] if _is_at(known, met.address) else [_moved(known, met.address), gone]
    granted = other.granted if other.declared else Capacity()
    added = e.ResourceAdded(
        0, peer.name, granted, "comm", properties, other.is_parent, other.declared, other.limit_of_tasks
    )
    return [added, gone]


def _is_at(row: Neighbour, address: str) -> bool:
    properties = dict(row.properties)
    return joined(properties.get("Host", row.name), int(properties.get("Port", COMM_PORT))) == address


def _moved(row: Neighbour, address: str) -> e.ResourceAdded:
    log.warning("%s was found at %s and is looked for there from now on", row.name, address)
    properties = tuple(sorted(placed(address).items()))
    return e.ResourceAdded(0, row.name, Capacity(), row.adaptor, properties, row.is_parent, declared=False)
