"""A worker that sends what is not the protocol is killed and reported, and harms nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agentd.core.events import WorkerLost
from tests.integration.workers_room import Room, arguments

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import array, os, socket, struct, sys, time

def own_socket():
    for fd in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"): return socket.socket(fileno=os.dup(fd))
        except OSError: pass

def frame(kind, body=b""): return struct.pack("<IB", len(body), kind) + body
def numbers(*values): return struct.pack(f"<{len(values)}Q", *values)
def result(task, value): return b"\\xdd\\0\\0\\0\\1\\x93\\xcf" + struct.pack(">Q", task) + b"\\0" + value
def lying(task, part): return frame(21, result(task, b"\\x93\\1\\xc4\\0\\x91" + part))
def memory(size, seal):
    import fcntl
    fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    if seal: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd
def send(sock, data, *fds):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights)

def rubbish(what, task):
    sock = own_socket()
    send_it = {
        "unknown kind": lambda: send(sock, frame(99)),
        "a kind of ours": lambda: send(sock, frame(9)),
        "huge length": lambda: send(sock, struct.pack("<IB", 1 << 31, 21)),
        "no msgpack": lambda: send(sock, frame(21, b"\\xc1\\xc1")),
        "no list of results": lambda: send(sock, frame(21, b"\\x80")),
        "a status of ours": lambda: send(sock, frame(21, b"\\x91\\x92" + bytes([task, 4]))),
        "another's task": lambda: send(sock, frame(21, result(task + 1000, b"\\x91\\0"))),
        "the next task": lambda: send(sock, frame(21, result(task + 1, b"\\x91\\0"))),
        "unheld segment": lambda: send(sock, frame(26, numbers(1))),
        "half a number": lambda: send(sock, frame(26, b"123")),
        "half an output": lambda: send(sock, frame(22, b"123")),
        "unasked settling": lambda: send(sock, frame(23, b"\\1\\0\\0\\0")),
        "second hello": lambda: send(sock, frame(20, numbers(1))),
        "short hello": lambda: send(sock, frame(20)),
        "segment without descriptor": lambda: send(sock, frame(24, numbers(1, 4096))),
        "segment that is a file": lambda: send(sock, frame(24, numbers(1, 1)), 1),
        "segment that can shrink": lambda: send(sock, frame(24, numbers(1, 4096)), memory(4096, False)),
        "segment smaller than said": lambda: send(sock, frame(24, numbers(1, 8192)), memory(4096, True)),
        "segment of nothing": lambda: send(sock, frame(24, numbers(1, 0)), memory(4096, True)),
        "unknown segment given up": lambda: send(sock, frame(25, numbers(5))),
        "result in another's segment": lambda: send(sock, lying(task, b"\\x94\\1\\xc0\\7\\0")),
        "result in the store": lambda: send(sock, lying(task, b"\\x95\\1\\xc0\\0\\0\\7")),
        "result beyond its segment": lambda: (
            send(sock, frame(24, numbers(1, 4096)), memory(4096, True)),
            send(sock, lying(task, b"\\x94\\xcd\\x10\\1\\xc0\\1\\0")),
        ),
        "descriptors by the dozen": lambda: [send(sock, frame(22), *[1] * 50) for _ in range(9)],
    }
    send_it[what]()
    time.sleep(60)
def inc(x): return x + 1
"""
KINDS = [line.split('"')[1] for line in CODE.splitlines() if line.startswith('        "')]


@pytest.mark.parametrize("what", KINDS)
def test_rubbish_is_the_end_of_the_worker_that_sent_it(tmp_path: Path, what: str) -> None:
    """The loss says that the protocol was broken; the other worker goes on, and nothing stays open."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            await room.start_worker(2)
            task = room.task("rubbish")
            task.payload = arguments(what, task.id)
            room.give([task, room.task("inc", arguments(1))])
            lost = await room.lost(1)
            assert "broke the protocol" in lost.failure.message
            assert lost.running == task.id or "result" in what or "task" in what
            assert not room.results()
            assert not len(room.supervisor.segments)
            assert await room.call("inc", 1, worker=2) == 2
            assert len(room.of(WorkerLost)) == 1

    asyncio.run(main())
