"""Agents that are to stop with an operation: neighbours are asked over their link, and say whether they do.

Law: who was paired stops this agent only where its operator lets it (`agentd peers limit NAME --may-stop yes`); who was
not, only as a process of this agent's own user on this device that may do everything here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentd.comm.whereabouts import host_of
from agentd.model.addresses import is_loopback
from agentd.wire.messages import StopAnswer, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.comm.door import Door
    from agentd.comm.ends.peer_end import PeerEnd
    from agentd.comm.link import Link
    from agentd.wire.messages import Message

log = logging.getLogger("agentd")

PATIENCE_S = 5.0
"""How long the answer of a neighbour is waited for, and the look-up of a name (chosen: a lease)."""


class Stopping:
    """Asks neighbours to stop, and answers those that ask.

    `stop` ends this agent; `is_open` tells whether a process of its own user may do everything here.
    """

    def __init__(self, door: Door, stop: Callable[[], None], *, is_open: bool) -> None:
        self._door = door
        self._stop = stop
        self._is_open = is_open
        self._numbers = itertools.count(1)
        self._waiting: dict[tuple[int, int], asyncio.Future[str]] = {}
        """By link and number of the request: why the neighbour does not stop."""
        door.route(StopRequest, self._asked)
        door.route(StopAnswer, self._answered)

    # --- asking -------------------------------------------------------------------------------------------------

    async def neighbour_at(self, url: str) -> str:
        """Name the neighbour that is connected and has its port for users at an URL; empty when it is nobody's."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        except ValueError:
            return ""
        there = [end for end in self._door.peers() if end.them.capabilities.get("user_port") == port]
        found = [end for end in there if host in {end.neighbour, end.them.name}]
        if there and not found:
            meant = await _addresses(host)
            found = [end for end in there if _host(end.link.where) in meant]
        return found[0].neighbour if len(found) == 1 else ""

    async def ask(self, neighbour: str, reason: str) -> str:
        """Ask a neighbour to stop; gives why it does not, empty when it does."""
        link = self._door.link_to(neighbour)
        end = link and self._door.peer(link)
        if link is None or not end:
            return "it is not connected"
        if not end.them.capabilities.get("stop"):
            return "its program is too old to be stopped over the link"
        key = link.number, next(self._numbers)
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[key] = waiter
        self._door.send(link, StopRequest(key[1], reason))
        self._door.flush()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await waiter
        except TimeoutError:
            return "it does not answer"
        finally:
            self._waiting.pop(key, None)

    def _answered(self, link: Link, message: Message) -> None:
        assert isinstance(message, StopAnswer)
        waiter = self._waiting.get((link.number, message.number))
        if waiter is not None and not waiter.done():
            waiter.set_result(message.objection)

    # --- being asked --------------------------------------------------------------------------------------------

    def _asked(self, link: Link, message: Message) -> None:
        assert isinstance(message, StopRequest)
        end = self._door.peer(link)
        if end is None:
            return
        objection = self._objection(end)
        self._door.send(link, StopAnswer(message.number, objection))
        self._door.flush()
        if objection:
            log.warning("%s asked this agent to stop, and may not", end.neighbour)
            return
        log.info("%s asked this agent to stop: %s", end.neighbour, message.reason)
        self._stop()

    def _objection(self, end: PeerEnd) -> str:
        """Say to who asks why it may not stop this agent."""
        if end.link.certificate is not None:
            if end.limits.may_stop:
                return ""
            return f"its operator does not let this one: agentd peers limit {end.neighbour} --may-stop yes, there"
        origin = end.link.origin_of and end.link.origin_of()
        if origin and origin.is_on_device and origin.uid == os.getuid() and self._is_open:
            return ""
        return "it was not started with --local-access admin"


def _host(where: str) -> str:
    """Give the host of `host:port`; all of this device's own addresses for itself are one."""
    host = host_of(where)
    return "localhost" if is_loopback(host) else host


async def _addresses(host: str) -> set[str]:
    """Look up what a host may be known by."""
    if is_loopback(host):
        return {"localhost"}
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return {host}
    return {host} | {"localhost" if is_loopback(str(row[4][0])) else str(row[4][0]) for row in found}
