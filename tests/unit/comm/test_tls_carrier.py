"""TLS on a socket of the loop: bytes both ways, an end that does not read, and each way in which it can be over."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from agentd.comm.carrying.tls_carrier import TlsCarrier
from agentd.comm.trust.security import asking, serving
from agentd.store import identity, key_maker
from agentd.store.disk import LocalDisk

PATIENCE_S = 60.0
MUCH = 8 << 20
"""More than two sockets on loopback keep for a reader that does not come (tcp(7), tcp_wmem and tcp_rmem)."""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pem = key_maker.make("alpha", 2026)
    return identity.keep_identity(LocalDisk(), tmp_path_factory.mktemp("key"), pem).path


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Run under each kind of loop."""

    def run(main: Callable[[], Awaitable[None]]) -> None:
        async def timed() -> None:
            async with asyncio.timeout(PATIENCE_S):
                await main()

        request.param(timed())

    return run


class Ear:
    """A receiver that keeps what it is told; with `room` it names where the next bytes belong."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.landed_bytes = 0
        self.lost_for: list[str] = []
        self.was_writable = 0
        self.room: memoryview | None = None
        self.on_heard: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()

    @property
    def landing(self) -> memoryview | None:
        return self.room

    def landed(self, count: int) -> None:
        assert self.room is not None
        self.landed_bytes += count
        self.heard += self.room[:count]
        self.room = self.room[count:] if count < len(self.room) else None
        self._tell()

    def received(self, data: bytes, fds: Sequence[int] = ()) -> None:
        assert not fds
        self.heard += data
        self._tell()

    def writable(self) -> None:
        self.was_writable += 1
        self._changed.set()

    def lost(self, reason: str) -> None:
        self.lost_for.append(reason)
        self._changed.set()

    def _tell(self) -> None:
        self._changed.set()
        self.on_heard()

    async def until(self, is_so: Callable[[], object]) -> None:
        while not is_so():
            self._changed.clear()
            await self._changed.wait()


async def sockets() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


@asynccontextmanager
async def two(key: Path, linger_s: float = PATIENCE_S):
    """Two carriers that have agreed, and who hears them."""
    near_end, far_end = await sockets()
    near = TlsCarrier(near_end, asking(), "127.0.0.1", linger_s=linger_s)
    far = TlsCarrier(far_end, serving(key), linger_s=linger_s)
    try:
        await asyncio.gather(near.agreed(), far.agreed())
        here, there = Ear(), Ear()
        near.carry_for(here)
        far.carry_for(there)
        yield near, here, far, there
    finally:
        near.abort()
        far.abort()


@asynccontextmanager
async def one_and_bare(key: Path, linger_s: float = PATIENCE_S):
    """A carrier, who hears it, and a blocking program at the other end that a thread has to drive."""
    near_end, far_end = await sockets()
    far_end.setblocking(True)
    carrier = TlsCarrier(near_end, serving(key), linger_s=linger_s)
    bare = await asyncio.to_thread(asking().wrap_socket, far_end)
    try:
        await carrier.agreed()
        ear = Ear()
        carrier.carry_for(ear)
        yield carrier, ear, bare
    finally:
        carrier.abort()
        bare.close()


def test_bytes_arrive_in_order_both_ways_whatever_their_sizes(run, key):
    """Large and small pieces, with and without a place of their own, from both ends at the same time."""
    chance = random.Random(7)
    sizes = [chance.choice((0, 1, 100, 16_384, 65_536, 65_537, 300_000, 1 << 20)) for _ in range(60)]
    pieces = [chance.randbytes(size) for size in sizes]
    whole = b"".join(pieces)

    async def main() -> None:
        async with two(key) as (near, here, far, there):
            there.room = memoryview(bytearray(1_234_567))
            for carrier, ear in ((near, here), (far, there)):
                for at in range(0, len(pieces), 3):
                    if carrier.is_full:
                        await ear.until(lambda one=carrier: not one.is_full)
                    carrier.write(pieces[at : at + 3])
            await there.until(lambda: len(there.heard) == len(whole))
            await here.until(lambda: len(here.heard) == len(whole))
            assert there.heard == whole
            assert here.heard == whole
            assert there.landed_bytes == 1_234_567
            assert near.pending_bytes == far.pending_bytes == 0

    run(main)


def test_what_was_proven_is_told(run, key):
    """Who dials knows the certificate of who answers, and that the connection is secret; the other end saw none."""

    async def main() -> None:
        async with two(key) as (near, _, far, _):
            assert near.certificate == identity.read_identity(LocalDisk(), key.parent).certificate
            assert far.certificate is None
            assert near.is_secret
            assert near.ends == tuple(reversed(far.ends))

    run(main)


def test_an_end_that_does_not_read_makes_the_other_full_until_it_does(run, key):
    """What waits is counted, in steps as small as a slow reader's, and `writable` is told when nothing does."""

    async def main() -> None:
        async with two(key) as (near, here, far, there):
            far.pause_reading()
            near.write([bytes(MUCH)])
            assert near.is_full
            counts: set[int] = set()
            there.on_heard = lambda: counts.add(near.pending_bytes)
            before = near.pending_bytes
            far.resume_reading()
            await here.until(lambda: here.was_writable)
            await there.until(lambda: len(there.heard) == MUCH)
            steps = sorted({before, 0, *counts})
            assert near.pending_bytes == 0
            assert not near.is_full
            assert here.was_writable == 1
            assert all(step % 65_536 == 0 for step in steps), steps

    run(main)


def test_who_pauses_is_told_nothing_until_it_goes_on(run, key):
    """Also of what the library has opened already, and nothing is left there when the other end is silent then."""

    async def main() -> None:
        async with two(key) as (near, _, far, there):

            def pause() -> None:
                far.pause_reading()

            there.room = memoryview(bytearray(100))
            there.on_heard = pause
            near.write([bytes(range(200)) * 20])
            await there.until(lambda: there.heard)
            assert len(there.heard) == 100
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(there.heard) == 100
            there.on_heard = lambda: None
            far.resume_reading()
            await there.until(lambda: len(there.heard) == 4_000)
            assert there.heard == bytes(range(200)) * 20

    run(main)


def test_who_finishes_is_heard_to_the_last_byte_and_both_are_told_the_end(run, key):
    """What was written before the end arrives, though it had to wait, and nothing that is written after it."""

    async def main() -> None:
        async with two(key) as (near, here, far, there):
            far.pause_reading()
            near.write([bytes(MUCH)])
            near.finish()
            near.write([b"too late"])
            near.finish()
            far.resume_reading()
            await there.until(lambda: there.lost_for)
            await here.until(lambda: here.lost_for)
            assert len(there.heard) == MUCH
            assert len(here.lost_for) == len(there.lost_for) == 1

    run(main)


def test_two_that_finish_at_the_same_time_wait_for_nobody(run, key):
    """Each has said its end: neither waits for the time that an answer may take."""

    async def main() -> None:
        async with two(key, linger_s=10 * PATIENCE_S) as (near, here, far, there):
            near.finish()
            far.finish()
            await there.until(lambda: there.lost_for)
            await here.until(lambda: here.lost_for)

    run(main)


def test_an_end_that_never_answers_is_left_after_a_while(run, key):
    """It was said the end, reads none of it, and says nothing: then the connection is closed."""

    async def main() -> None:
        async with one_and_bare(key, linger_s=0.05) as (carrier, ear, _):
            carrier.write([bytes(MUCH)])
            carrier.finish()
            await ear.until(lambda: ear.lost_for)
            assert carrier.pending_bytes == 0

    run(main)


def test_a_program_of_the_library_hears_a_proper_end(run, key):
    """The bytes, then the word of TLS that no more will come, so that nobody can cut them off unseen."""

    async def main() -> None:
        async with one_and_bare(key) as (carrier, ear, bare):
            carrier.write([b"last words"])
            carrier.finish()
            assert await asyncio.to_thread(bare.recv, 100) == b"last words"
            assert await asyncio.to_thread(bare.recv, 100) == b""  # it would raise where the word was missing
            await asyncio.to_thread(bare.unwrap)
            bare.close()
            await ear.until(lambda: ear.lost_for)

    run(main)


@pytest.mark.parametrize("is_rubbish", [True, False], ids=["rubbish", "cut"])
def test_what_is_not_sealed_ends_it_with_a_reason_after_what_was(run, key, is_rubbish):
    """Rubbish between the records, or the end of the connection without a word: what came before is told before."""

    async def main() -> None:
        async with one_and_bare(key) as (_, ear, bare):
            await asyncio.to_thread(bare.sendall, b"good")
            plain = socket.socket(fileno=bare.detach())
            plain.setblocking(True)
            if is_rubbish:
                plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            else:
                plain.shutdown(socket.SHUT_WR)
            await ear.until(lambda: ear.lost_for)
            plain.close()
            assert ear.heard == b"good"
            assert ("SSL" in ear.lost_for[0]) is is_rubbish
            assert len(ear.lost_for) == 1

    run(main)


def test_who_is_not_trusted_is_not_agreed_with(run, key):
    """Who dials insists on a certificate: it learns why, and so does the other end."""

    async def main() -> None:
        near_end, far_end = await sockets()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        near = TlsCarrier(near_end, context, "127.0.0.1", linger_s=1.0)
        far = TlsCarrier(far_end, serving(key), linger_s=1.0)
        refused, told = await asyncio.gather(near.agreed(), far.agreed(), return_exceptions=True)
        assert isinstance(refused, ssl.SSLCertVerificationError)
        assert told is None or isinstance(told, ssl.SSLError)
        far.abort()

    run(main)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n"], ids=["nothing", "http"])
def test_who_does_not_speak_tls_is_not_agreed_with(run, key, said):
    """Whoever waits is told, once the other end has said something else, or gone."""

    async def main() -> None:
        near_end, far_end = await sockets()
        carrier = TlsCarrier(far_end, serving(key), linger_s=1.0)
        near_end.send(said)
        near_end.shutdown(socket.SHUT_WR)
        with pytest.raises(ssl.SSLError):
            await carrier.agreed()
        near_end.close()

    run(main)


def test_an_end_that_comes_before_anybody_listens_is_told_to_who_does(run, key):
    """Between the agreement and the link there is time for the other end to go."""

    async def main() -> None:
        near_end, far_end = await sockets()
        carrier = TlsCarrier(far_end, serving(key), linger_s=1.0)
        bare = await asyncio.to_thread(_blocking, near_end)
        await carrier.agreed()
        await asyncio.to_thread(bare.sendall, b"hello")
        bare.close()
        ear = Ear()
        carrier.carry_for(ear)
        await ear.until(lambda: ear.lost_for)
        assert ear.heard == b"hello"

    run(main)


def _blocking(sock: socket.socket) -> ssl.SSLSocket:
    sock.setblocking(True)
    return asking().wrap_socket(sock)
