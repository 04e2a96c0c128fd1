"""Responses as bytes: what the routes give back, made without rendering anything twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

JSON = b"application/json"
PROBLEM = b"application/problem+json"
BYTES = b"application/octet-stream"
PICKLE = b"application/x-python-pickle"
TEXT = b"text/plain; charset=utf-8"
SSE = b"text/event-stream"
LINES = b"application/x-ndjson"

T = TypeVar("T")

_encoder = msgspec.json.Encoder()

Emit = Callable[[bytes], Awaitable[bool]]
"""Send a piece of a stream; false when its reader takes nothing any more."""


@asynccontextmanager
async def closing(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close an iterator at the end, however it comes, where it can be closed."""
    try:
        yield iterator
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


class Answer(Response):
    """A response whose body is bytes already."""

    def __init__(
        self, status: int, body: bytes = b"", media: bytes = JSON, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [(b"content-type", media), (b"content-length", b"%d" % len(body)), *headers]


def json_of(value: Any, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Answer with a value, encoded as JSON."""
    return Answer(status, _encoder.encode(value), JSON, headers)


class Stream(Response):
    """A response without an end of its own: `write` sends it piece by piece through what it is given.

    A reader that takes nothing for `deadline_s` is cut off.
    """

    def __init__(
        self,
        write: Callable[[Emit], Awaitable[None]],
        media: bytes,
        deadline_s: float,
        cut: Callable[[], None],
    ) -> None:
        self.status_code = 200
        self.body = b""
        self.background = None
        self.raw_headers = [(b"content-type", media), (b"x-accel-buffering", b"no")]
        self._write = write
        self._deadline_s = deadline_s
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream (ASGI). Cancelled when the client leaves, which ends `write` too."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        is_open = True

        async def emit(piece: bytes) -> bool:
            nonlocal is_open
            try:
                async with asyncio.timeout(self._deadline_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                is_open = False
                self._cut()
            return is_open

        await self._write(emit)
        if is_open:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
