"""What users' code wrote to stdout and stderr, as text, as JSON lines, or as server-sent events."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import msgspec
from fastapi import Depends, Query
from starlette.responses import Response

from agentd.rest.answering.accept import choose
from agentd.rest.answering.answers import LINES, SSE, TEXT, Emit, Stream, closing
from agentd.rest.answering.problems import Problem
from agentd.rest.call import Call, current
from agentd.rest.nouns.operations import wanted
from agentd.rest.routes import Route

_encoder = msgspec.json.Encoder()
_decoder = codecs.getincrementaldecoder("utf-8")

OFFERS = ("text/plain", LINES.decode(), SSE.decode())


async def read_logs(
    call: Annotated[Call, Depends(current)],
    id: str,  # noqa: A002 - the parameter's public name
    follow: Annotated[bool, Query(description="Go on until the operation has ended.")] = False,
) -> Response:
    """Give the output of users' code, wherever it ran.

    By `Accept`: `text/plain` is the bytes of both streams as they were written; `application/x-ndjson` gives
    `{"stream", "text"}` line by line; `text/event-stream` gives the same as server-sent events.
    """
    number = wanted(id)
    accept = call.headers.get(b"accept")
    media = choose(OFFERS, None if accept is None else accept.decode("latin-1"))
    if media is None:
        raise Problem(406, f"logs are to be had as {', '.join(OFFERS)}", members={"available": list(OFFERS)})
    await call.port.operation(number)  # so that an unknown one is a 404, before the first byte is sent
    form = _FORMS[media]()
    pieces = call.port.logs(number, follow)

    async def write(emit: Emit) -> None:
        await _relay(pieces, form, emit)

    shown = TEXT if media == "text/plain" else media.encode()
    return Stream(write, shown, call.settings.send_deadline_s, call.connection.cut)


async def _relay(pieces: AsyncIterator[tuple[str, bytes]], form: Callable[[str, bytes], bytes], emit: Emit) -> None:
    async with closing(pieces):
        async for stream, piece in pieces:
            data = form(stream, piece)
            if data and not await emit(data):
                return


def _as_written() -> Callable[[str, bytes], bytes]:
    return lambda _, piece: piece


def _as_lines() -> Callable[[str, bytes], bytes]:
    record = _as_records()

    def line(stream: str, piece: bytes) -> bytes:
        data = record(stream, piece)
        return data + b"\n" if data else b""

    return line


def _as_events() -> Callable[[str, bytes], bytes]:
    record = _as_records()

    def event(stream: str, piece: bytes) -> bytes:
        data = record(stream, piece)
        return b"event: log\ndata: " + data + b"\n\n" if data else b""

    return event


def _as_records() -> Callable[[str, bytes], bytes]:
    """Make JSON of pieces, whose characters may be cut in two between them; what is no UTF-8 is replaced."""
    decoders: dict[str, codecs.IncrementalDecoder] = {}

    def record(stream: str, piece: bytes) -> bytes:
        decoder = decoders.setdefault(stream, _decoder("replace"))
        text = decoder.decode(piece)
        return _encoder.encode({"stream": stream, "text": text}) if text else b""

    return record


_FORMS = {"text/plain": _as_written, LINES.decode(): _as_lines, SSE.decode(): _as_events}

ROUTES = (
    Route(
        method="GET",
        path="/v1/operations/{id}/logs",
        scope="read",
        endpoint=read_logs,
        tag="operations",
        is_endless=True,
        answers={200: None},
        media=OFFERS,
        problems=(404, 406, 422),
    ),
)
