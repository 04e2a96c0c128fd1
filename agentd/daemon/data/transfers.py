"""Objects on their way here, in pieces: asked for, checked, written, and gone on with where they stopped.

Law: what was written is not asked for again, whoever gives the rest; what is asked for and not written is bounded.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from agentd.core.events import FetchFailed, ObjectFetched
from agentd.daemon.data.returns import Returns
from agentd.wire.checksum import checksum
from agentd.wire.messages import DataChunk, DataRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.comm.door import Door
    from agentd.comm.link import Link
    from agentd.core.commands import AbandonFetch, FetchObject
    from agentd.core.events import Event
    from agentd.daemon.data.arrivals import Arrivals, Place
    from agentd.daemon.data.serving import Serving
    from agentd.model.values import ObjectKey, Remote
    from agentd.wire.messages import Message

PIECE_BYTES = 4 << 20
"""What one request asks for."""
WINDOW_BYTES = 2 * PIECE_BYTES
"""What is asked for and not written of one object (chosen: a link of 50 ms and 1 Gbit/s is kept full)."""
ACTIVE_MOST = 16
"""Objects that come at a time; others wait (chosen: bounds what is in memory, and leaves none starving)."""
STALLED_S = 30.0
"""Without a byte for so long a transfer is tried anew."""
PROGRAM_STALLED_S = 60.0
"""The same for a program, whose own code may keep the thread that answers from running (chosen)."""
FAULTS_MOST = 4
"""Times in a row that a neighbour may send what is of no use, or nothing, before it is taken not to have the object.
Chosen: one fault of a cable or of memory is tried again, and who lies is not waited for."""
LONG_S = 1.0
"""Transfers that take longer are told of, so often (chosen: what a person notices)."""

log = logging.getLogger("agentd")


class Awaiting(Protocol):
    """Who waits for an object of a program, which the engine knows nothing of."""

    def arrived(self, segment: int) -> None:
        """All of it is in a segment, which is held once."""
        ...

    def failed(self, why: str, *, is_damaged: bool, is_no_room: bool) -> None:
        """It does not come; if it `is_damaged`, the rest may be asked for again with `Transfers.again`."""
        ...


class Transfer:
    """One object on its way here, by `key`; for the engine if nobody is `awaiting` it."""

    def __init__(self, key: ObjectKey, remote: Remote, now: float, awaiting: Awaiting | None = None) -> None:
        self.key = key
        self.remote = remote
        self.awaiting = awaiting
        self.neighbour = ""
        self.link: Link | None = None
        self.stream = 0
        self.place: Place | None = None
        self.asked = 0
        """Up to here it was asked for on the present stream."""
        self.taken = 0
        """Up to here it has come."""
        self.written = 0
        """Up to here it is written: where to go on."""
        self.faults = 0
        """So often in a row what came was of no use."""
        self.is_landing = False
        """The next chunk is read straight to its place."""
        self.began_s = now
        self.moved_s = now
        self.told_s = now

    def awaits(self, chunk: DataChunk, size: int) -> bool:
        """Tell whether a chunk of so many bytes is the next of what was asked for."""
        is_next = chunk.offset == self.taken and chunk.size == self.remote.size
        return is_next and 0 < size <= self.asked - self.taken


class Transfers:
    """Everything that is on its way to this agent."""

    def __init__(
        self,
        door: Door,
        serving: Serving,
        arrivals: Arrivals,
        post: Callable[[Event], None],
        publish: Callable[[str, str, dict[str, object]], None],
        now: Callable[[], float],
        returns: Returns | None = None,
    ) -> None:
        """Begin with nothing; what `returns` keeps may be done without where there is no room."""
        self._door = door
        self._serving = serving
        self._arrivals = arrivals
        self._post = post
        self._publish = publish
        self._now = now
        self._returns = Returns() if returns is None else returns
        self._loop = asyncio.get_running_loop()
        self._transfers: dict[ObjectKey, Transfer] = {}
        self._by_stream: dict[tuple[int, int], Transfer] = {}
        self._waiting: deque[ObjectKey] = deque()
        self._streams = itertools.count(1)
        self._watch: asyncio.TimerHandle | None = None
        self.fetched_bytes = 0
        door.route(DataRequest, self._requested)
        door.route(DataChunk, self._received)
        door.land(self._room_for)

    def __len__(self) -> int:
        return len(self._transfers)

    def close(self) -> None:
        """Drop what is on its way."""
        for key in list(self._transfers):
            self.drop(key)
        self._arrivals.close()
        if self._watch is not None:
            self._watch.cancel()

    def trim(self) -> None:
        """Give back memory that nobody has used for a while."""
        self._arrivals.trim()

    @property
    def figures(self) -> dict[str, float]:
        """Gauges for the metrics, by name."""
        return {
            "transfers": len(self._transfers),
            "fetched_bytes": self.fetched_bytes,
            "kept_bytes": self._returns.bytes,
            "served_bytes": self._serving.served_bytes,
            "relayed_bytes": self._serving.relayed_bytes,
            "spilled_bytes": self._arrivals.spilled_bytes,
            "spilled_values": self._arrivals.spilled_total,
        }

    def progress(self, key: ObjectKey) -> tuple[int, int, str] | None:
        """Tell how much of an object is here, of how much, and who gives it; None: it is not on its way."""
        found = self._transfers.get(key)
        return (found.written, found.remote.size, found.neighbour) if found is not None else None

    # --- commands ---------------------------------------------------------------------------------------------

    def fetch(self, command: FetchObject) -> None:
        """Bring an object here from a neighbour, from where it stopped."""
        key = command.remote.key
        transfer = self._transfers.get(key)
        if transfer is None:
            transfer = self._transfers[key] = Transfer(key, command.remote, self._now())
        self._stop(transfer)
        transfer.neighbour = command.neighbour
        if self._active >= ACTIVE_MOST:
            if key not in self._waiting:
                self._waiting.append(key)
        else:
            self._begin(transfer)

    def abandon(self, command: AbandonFetch) -> None:
        """An object is not wanted any more."""
        self.drop(command.key)
        self._begin_waiting()

    @property
    def _active(self) -> int:
        """How many come from neighbours: programs have a limit of their own."""
        return sum(transfer.awaiting is None for transfer in self._by_stream.values())

    def pull(self, key: ObjectKey, link: Link, remote: Remote, awaiting: Awaiting) -> None:
        """Bring an object of a program here, over its link; `key` is for `again` and `drop`, and nobody else's."""
        transfer = self._transfers[key] = Transfer(key, remote, self._now(), awaiting)
        transfer.neighbour = "its program"
        self._begin_on(transfer, link)

    def again(self, key: ObjectKey, link: Link) -> None:
        """Go on with an object of a program of which the last chunk was of no use."""
        self._begin_on(self._transfers[key], link)

    def halt(self, key: ObjectKey) -> int:
        """Wait with an object of a program until `resume` or `drop`; give how much of it is here."""
        transfer = self._transfers[key]
        self._stop(transfer)
        return transfer.written

    def resume(self, key: ObjectKey, link: Link, awaiting: Awaiting) -> None:
        """Go on with an object of a program that has come back, over its new link."""
        transfer = self._transfers[key]
        transfer.awaiting = awaiting
        self._begin_on(transfer, link)

    def _begin(self, transfer: Transfer) -> None:
        link = self._door.link_to(transfer.neighbour)
        if link is None:
            self._fail(transfer, f"there is no link to {transfer.neighbour}")
        else:
            self._begin_on(transfer, link)

    def _begin_on(self, transfer: Transfer, link: Link) -> None:
        if transfer.place is None:
            try:
                transfer.place = self._room_of(transfer.remote)
            except OSError as error:
                self._fail(transfer, str(error), is_no_room=True)
                return
        transfer.link, transfer.stream = link, next(self._streams)
        transfer.asked = transfer.taken = transfer.written
        transfer.moved_s = self._now()
        self._by_stream[link.number, transfer.stream] = transfer
        self._ask(transfer)
        self._keep_watch()

    def _room_of(self, remote: Remote) -> Place:
        """Make room for an object.

        Raises:
            OSError: there is none, also without what may be done without.
        """
        while True:
            try:
                return self._arrivals.make(remote.size, on_disk=remote.is_file)
            except OSError:
                if not self._returns.spare():
                    raise

    def _ask(self, transfer: Transfer) -> None:
        """Ask for more, as far as what was asked for is written."""
        link, remote = transfer.link, transfer.remote
        if link is None:
            return
        while transfer.asked < remote.size and transfer.asked - transfer.written <= WINDOW_BYTES - PIECE_BYTES:
            size = min(PIECE_BYTES, remote.size - transfer.asked)
            request = DataRequest(remote.number, transfer.asked, size, remote.home, remote.boot, transfer.stream)
            self._door.send(link, request)
            transfer.asked += size
        link.flush()

    # --- messages ---------------------------------------------------------------------------------------------

    def _requested(self, link: Link, message: Message) -> None:
        assert isinstance(message, DataRequest)
        self._serving.requested(link, message)

    def _room_for(self, link: Link, chunk: DataChunk, size: int) -> memoryview | None:
        """Say where a chunk that is coming belongs."""
        transfer = self._by_stream.get((link.number, chunk.stream))
        if transfer is None or transfer.place is None or chunk.error or not transfer.awaits(chunk, size):
            return None
        try:
            room = transfer.place.room(chunk.offset, size)
        except OSError:
            return None
        transfer.is_landing = room is not None
        return room

    def _received(self, link: Link, message: Message) -> None:
        assert isinstance(message, DataChunk)
        transfer = self._by_stream.get((link.number, message.stream))
        if transfer is None:
            self._serving.passed(link, message)
        elif message.error:
            self._fail(transfer, message.error, is_gone=message.gone)
        else:
            self._take(transfer, link, message)

    def _take(self, transfer: Transfer, link: Link, chunk: DataChunk) -> None:
        """Check a chunk and write it."""
        size = sum(map(len, chunk.pieces))
        has_landed, transfer.is_landing = transfer.is_landing, False
        if not transfer.awaits(chunk, size):
            self._fault(transfer, f"{transfer.neighbour} sent what was not asked for")
        elif is_damaged(link, chunk):
            self._fault(transfer, f"a chunk from {transfer.neighbour} was damaged on its way", is_damaged=True)
        else:
            transfer.taken += size
            transfer.moved_s = self._now()
            stream = transfer.stream
            if has_landed:
                self._written(transfer, stream, size, None)
                return
            assert transfer.place is not None
            transfer.place.write(chunk.offset, chunk.pieces, lambda error: self._written(transfer, stream, size, error))

    def _written(self, transfer: Transfer, stream: int, size: int, error: OSError | None) -> None:
        if self._transfers.get(transfer.key) is not transfer or transfer.stream != stream:
            return
        if error is not None:
            self._fail(transfer, f"it cannot be written: {error}", is_no_room=True)
            return
        transfer.written += size
        transfer.faults = 0
        self.fetched_bytes += size
        if transfer.written >= transfer.remote.size:
            self._finish(transfer)
        else:
            self._ask(transfer)
            self._tell(transfer)

    def _finish(self, transfer: Transfer) -> None:
        assert transfer.place is not None
        place, transfer.place = transfer.place, None
        self.drop(transfer.key)
        try:
            segment = place.finish()
        except OSError as error:
            self._told_failure(transfer, str(error), is_no_room=True)
        else:
            if self._now() - transfer.began_s > LONG_S:
                self._tell(transfer, is_last=True)
            if transfer.awaiting is None:
                self._post(ObjectFetched(transfer.key, segment))
            else:
                transfer.awaiting.arrived(segment)
        self._begin_waiting()

    # --- ends -------------------------------------------------------------------------------------------------

    def _fail(
        self, transfer: Transfer, why: str, *, is_gone: bool = False, is_no_room: bool = False, is_damaged: bool = False
    ) -> None:
        """Tell that the present neighbour does not give it; what has come stays for the next."""
        self._stop(transfer)
        self._told_failure(transfer, why, is_gone=is_gone, is_no_room=is_no_room, is_damaged=is_damaged)
        self._begin_waiting()

    def _fault(self, transfer: Transfer, why: str, *, is_damaged: bool = False) -> None:
        """What came is of no use: it is tried again, and given up with who gives nothing else."""
        transfer.faults += 1
        is_given_up = transfer.faults >= FAULTS_MOST
        if is_given_up:
            transfer.faults = 0  # another one begins anew
        self._fail(transfer, why, is_gone=is_given_up, is_damaged=is_damaged)

    def _told_failure(
        self, transfer: Transfer, why: str, *, is_gone: bool = False, is_no_room: bool = False, is_damaged: bool = False
    ) -> None:
        if transfer.awaiting is None:
            self._post(FetchFailed(transfer.key, transfer.neighbour, why, is_gone, is_no_room))
        else:
            transfer.awaiting.failed(why, is_damaged=is_damaged, is_no_room=is_no_room)

    def _stop(self, transfer: Transfer) -> None:
        if transfer.link is not None:
            self._by_stream.pop((transfer.link.number, transfer.stream), None)
            if transfer.is_landing:  # its place may become another value's while the chunk goes on coming
                transfer.link.session.divert()
                transfer.is_landing = False
            transfer.link = None
        transfer.stream = 0

    def drop(self, key: ObjectKey) -> None:
        """Let go of what has come of an object."""
        transfer = self._transfers.pop(key, None)
        if transfer is not None:
            self._stop(transfer)
            if transfer.place is not None:
                transfer.place.drop()

    def _begin_waiting(self) -> None:
        while self._waiting and self._active < ACTIVE_MOST:
            transfer = self._transfers.get(self._waiting.popleft())
            if transfer is not None and transfer.link is None:
                self._begin(transfer)

    def link_closed(self, number: int) -> None:
        """A link is gone; the engine, which hears of it too, says how it goes on."""
        for transfer in [one for (link, _), one in self._by_stream.items() if link == number]:
            self._stop(transfer)
        self._serving.link_closed(number)
        self._begin_waiting()

    # --- time -------------------------------------------------------------------------------------------------

    def _tell(self, transfer: Transfer, *, is_last: bool = False) -> None:
        """Say how far a long transfer has come."""
        now = self._now()
        if not is_last and now - transfer.told_s < LONG_S:
            return
        transfer.told_s = now
        detail: dict[str, object] = {
            "bytes": transfer.written,
            "size": transfer.remote.size,
            "from": transfer.neighbour,
            "bytes_per_s": round(transfer.written / max(now - transfer.began_s, 1e-6)),
        }
        self._publish("transfer", str(transfer.remote.number), detail)

    def _keep_watch(self) -> None:
        if self._watch is None and self._by_stream:
            self._watch = self._loop.call_later(STALLED_S / 3, self._look)

    def _look(self) -> None:
        """Try anew what has not moved for long."""
        self._watch = None
        now = self._now()
        for transfer in list(self._by_stream.values()):
            patience_s = STALLED_S if transfer.awaiting is None else PROGRAM_STALLED_S
            if transfer.link is not None and transfer.link.is_paused:
                transfer.moved_s = now  # we do not read
            elif now - transfer.moved_s >= patience_s:
                self._fault(transfer, f"nothing came from {transfer.neighbour} for {patience_s:g} s")
        self._keep_watch()


def is_damaged(link: Link, chunk: DataChunk) -> bool:
    """Tell whether a chunk is other than what was sent; without a hash it is believed where none is needed."""
    if not chunk.hash and not link.needs_hash:
        return False
    return checksum(chunk.pieces) != chunk.hash
