"""Keep-alive HTTP clients in a process of their own: `python -m benchmarks.http_load URL BODY CLIENTS SECONDS`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

import httptools
import uvloop


class _Client(asyncio.Protocol):
    """Sends the same request again as soon as it is answered."""

    def __init__(self, request: bytes, until: float, times: list[float], wrong: list[int]) -> None:
        self._request, self._until, self._times, self._wrong = request, until, times, wrong
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._times.append(now - self._sent)
        status = self._parser.get_status_code()
        if status not in {200, 202}:
            self._wrong.append(status)
        if now < self._until and len(self._wrong) < 10:
            asyncio.get_running_loop().call_soon(self._next)
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(error)


async def _load(url: str, body: str, clients: int, seconds: float) -> dict[str, object]:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    content = body.encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
    times: list[float] = []
    wrong: list[int] = []
    loop, begin = asyncio.get_running_loop(), time.perf_counter()
    made = [
        await loop.create_connection(
            lambda: _Client(request, begin + seconds, times, wrong), parts.hostname, parts.port
        )
        for _ in range(clients)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    took = time.perf_counter() - begin
    times.sort()
    share = lambda part: times[min(int(len(times) * part), len(times) - 1)] * 1e3  # noqa: E731
    return {"per_s": len(times) / took, "p50_ms": share(0.5), "p99_ms": share(0.99), "wrong": wrong}


if __name__ == "__main__":
    url, body, clients, seconds = sys.argv[1:]
    sys.stdout.write(json.dumps(uvloop.run(_load(url, body, int(clients), float(seconds)))))
