"""Blobs: large values, streamed into the object store without ever being held whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from agentd.rest.answering.answers import BYTES, json_of
from agentd.rest.bodies import schemas
from agentd.rest.call import Call, current
from agentd.rest.gate.guard import too_large
from agentd.rest.routes import Route


class Counted:
    """The pieces of a body, counted while they pass."""

    def __init__(self, request: Request, cap_bytes: int) -> None:
        self.size_bytes = 0
        self._request = request
        self._cap_bytes = cap_bytes

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what comes.

        Raises:
            Problem: 413, more than the cap.
            ClientDisconnect: it ends before its end.
        """
        async for piece in self._request.stream():
            self.size_bytes += len(piece)
            if self.size_bytes > self._cap_bytes:
                raise too_large(self._cap_bytes, is_blob=True)
            if piece:
                yield piece


async def store_blob(request: Request, call: Annotated[Call, Depends(current)]) -> Response:
    """Store a large value, as bytes; `{"$blob": "ID"}` then stands for it in the arguments of an operation."""
    length = call.headers.get(b"content-length")
    counted = Counted(request, call.settings.blob_cap_bytes)
    try:
        number = await call.port.store_blob(counted.pieces(), None if length is None else int(length))
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    return json_of({"id": str(number), "bytes": counted.size_bytes}, 201)


ROUTES = (
    Route(
        method="PUT",
        path="/v1/blobs",
        scope="submit",
        endpoint=store_blob,
        tag="blobs",
        accepts=(BYTES,),
        is_streamed=True,
        answers={201: schemas.Blob},
        problems=(507,),
        example="-H 'Content-Type: application/octet-stream' -T FILE",
    ),
)
