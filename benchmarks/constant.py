"""Plain FastAPI answering a constant, the reference of the user port: `python -m benchmarks.constant PORT_FILE`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Asked(BaseModel):
    """The body of a submission."""

    function: str
    args: list[int] = []


class Answered(BaseModel):
    """A constant of the size of an answer."""

    id: str = "1234567890123456789"
    state: str = "done"
    result: int | None = None


@app.post("/v1/operations")
async def constant(_: Asked) -> Answered:
    """Answer a constant."""
    return Answered()


if __name__ == "__main__":
    bound = socket.create_server(("127.0.0.1", 0))
    Path(sys.argv[1]).write_text(str(bound.getsockname()[1]))
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[bound])
