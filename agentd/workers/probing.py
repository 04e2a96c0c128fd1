"""Looking for a function by importing its module, in a process that is there for nothing else."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from typing import TYPE_CHECKING

from agentd.comm.carrying.unix import UnixConnection
from agentd.model.errors import ConfigError
from agentd.workers.protocol import FrameReader, ProtocolError

if TYPE_CHECKING:
    from agentd.workers.spawning import Spawner

_ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer; chosen: a reason is a sentence or two."""
_numbers = itertools.count(1 << 62)
"""Numbers under which the spawner knows probes: far above those of workers."""


class _Answer:
    """What the process said, collected until it has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._reader = FrameReader(_ANSWER_LIMIT)
        self._texts: list[str] = []
        self.is_over = asyncio.Event()
        self.connection = UnixConnection(loop, sock, self._on_bytes, lambda _: self.is_over.set())

    @property
    def text(self) -> str | None:
        return self._texts[0] if self._texts else None

    def _on_bytes(self, data: bytes, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        try:
            self._texts += [bytes(body).decode("utf-8", "replace") for _, body in self._reader.feed(data)]
        except ProtocolError:
            self.connection.close()


async def look_for(loop: asyncio.AbstractEventLoop, spawner: Spawner, function: str, *, limit_s: float) -> str | None:
    """Tell why a function cannot be called here, None when it can. Cancelled: the process is killed."""
    here, there = socket.socketpair()
    answer = _Answer(loop, here)
    number = next(_numbers)
    try:
        spawner.probe(number, function, there.fileno())
        there.close()
        async with asyncio.timeout(limit_s):
            await answer.is_over.wait()
    except TimeoutError:
        return f"looking for {function} took longer than {limit_s:g} s: its module takes too long to import"
    except ConfigError as error:
        return str(error)
    finally:
        there.close()
        answer.connection.close()
        spawner.signal(number, signal.SIGKILL)
    if answer.text is None:
        return f"the process that looked for {function} ended without an answer"
    return answer.text or None
