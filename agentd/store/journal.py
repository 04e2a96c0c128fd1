"""The journal: every entry that the engine wants kept, in order, on the disk before anybody is told.

Law: an entry whose number was given to `committed` survives kill -9 and the loss of power; entries are never dropped
nor reordered. A disk that is full may pass; any other error of the disk is fatal and is never tried again.

The engine's thread appends and flushes; one writer thread commits all that is there at once, answers reads, and keeps
the file small when it has nothing else to do. What is flushed when there is nothing else to be done is committed at
once, where the disk is quick: to hand it over and to be told takes as long as the commit. Whoever commits calls back.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from msgspec import Struct

from agentd.core.journal.entries import EndedAlike, Entry
from agentd.model.errors import DiskError
from agentd.model.task import Outcome
from agentd.model.values import Payload
from agentd.store.account import Account
from agentd.store.ballast import BALLAST_BYTES, Ballast, Space
from agentd.store.cleaning import clean
from agentd.store.disk import Disk
from agentd.store.pace import Pace, are_small
from agentd.store.preserving import are_bare_ends, preserve
from agentd.store.records import Record, find_end, lay_out, read_head, readable, unpack
from agentd.store.repair import Alarm, lost_outcome, mend, rebuild
from agentd.store.table import Damaged, Table, translated, wal_of

BATCH_ENTRIES = 20_000
"""Chosen: what one commit takes at most, so that the first of very many are acknowledged early."""
RETRY_S = 1.0
"""Chosen: how often a full disk is looked at when nothing else happens."""
_CLEAN_BACKLOG = 64
"""Chosen: rows that may be due before they are cleaned although there is other work."""
_IDLE_S = 0.05
"""Chosen: where nothing was to be done for so long there is time to clean: each time costs a commit."""


class _Batch(Struct):
    """Entries that were flushed together; `last` is the number of the last one."""

    last: int
    entries: list[Entry]


class _Question(Struct):
    """Somebody wants an outcome."""

    operation: int
    answer: Callable[[Outcome | DiskError | None], None]


class Journal:
    """One journal file, its connection and its writer thread.

    The order of use: make it, `load` and read all that it gives, `start`, then `append` and `flush`, at last `close`.
    """

    def __init__(
        self,
        disk: Disk,
        path: Path,
        committed: Callable[[int], None],
        filled: Callable[[str], None],
        freed: Callable[[], None],
        broken: Callable[[BaseException], None],
        *,
        keep: Callable[[Payload], Payload] = lambda payload: payload,
        unreferenced: Callable[[Sequence[int]], None] = lambda _: None,
        alarmed: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
        ballast_bytes: int = BALLAST_BYTES,
    ) -> None:
        """Open the journal, or make it.

        Args:
            disk: through which everything is done.
            path: the database file, in a folder that is ours alone.
            committed: told the number of the last entry that is on the disk now.
            filled: told once, in words, that the disk is full; new work should be refused.
            freed: told that there is space again.
            broken: told what ended the writer thread; the daemon must end too.
            keep: stores what of a payload does not survive by itself, and gives the payload that does.
            unreferenced: told the objects that no operation refers to any more, after that is committed.
            alarmed: told of damage that was found while the journal was in use.
            clock: tells seconds, by which commits are timed; None: all is left to the writer thread.
            ballast_bytes: space to hold back for when the disk is full.

        Raises:
            ConfigError: made by a newer agentd, or no journal at all.
            StateInUse: another process has it open.
            DiskError: the disk failed.
        """
        self._disk = disk
        self._path = path
        self._alarms: list[Alarm] = []
        self._table = self._opened()
        self._space = Space(Ballast(disk, path.with_name("ballast"), ballast_bytes), filled, freed)
        self._committed, self._broken = committed, broken
        self._keep, self._unreferenced, self._alarmed = keep, unreferenced, alarmed
        self._account = Account()
        self._upkeep = self._account.upkeep
        self._pending: list[Entry] = []
        self._number = 0
        self._queue: SimpleQueue[_Batch | _Question | BaseException | None] = SimpleQueue()
        self._pace = Pace(clock)
        self._turn = threading.Lock()  # held by who writes
        self._handed = self._written = 0  # batches that the writer thread was given, and those that it has committed
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        # What follows is of who holds the turn, once the thread runs.
        self._next_row = 1
        self._batches: list[_Batch] = []
        self._questions: list[_Question] = []
        self._has_work, self._has_freed, self._can_shrink = False, True, False
        self._is_closing = self._is_idle = False
        self._size_bytes = self._table.size_bytes

    # --- before the writer thread runs

    def _opened(self) -> Table:
        try:
            return Table(self._disk, self._path)
        except Damaged:
            if self._disk.size(wal_of(self._path)):
                raise  # what is in the log cannot be folded in by us
            self._alarms.append(rebuild(self._disk, self._path))
            return Table(self._disk, self._path)

    def load(self) -> tuple[Iterator[Entry], list[Alarm]]:
        """Give all entries in order, and the damage that was found and set aside.

        All damage is looked for before the first entry is given. `start` needs the iterator to have been read to its
        end, since what the writer knows of the journal is learned on the way.

        Raises:
            DiskError: the disk failed, or the file is broken beyond reading.
        """
        with translated(self._path):
            alarms = mend(self._table)
            if alarms is None:
                self._table.checkpoint(truncate=True)
                self._table.close()
                self._alarms.append(rebuild(self._disk, self._path))
                self._table = Table(self._disk, self._path)
                alarms = mend(self._table) or []
        alarms[:0] = self._alarms
        return self._entries(alarms), alarms

    def _entries(self, alarms: list[Alarm]) -> Iterator[Entry]:
        with translated(self._path):
            for row, head, body in self._table.scan():
                self._next_row = row + 1
                for record in unpack(row, head, body)[0]:
                    entry = readable(record.payload) if isinstance(record, Record) else None
                    if entry is None or not isinstance(record, Record):
                        alarms.append(Alarm(f"journal row {row}: a record makes no sense and was passed over", row))
                        continue
                    self._account.read(row, entry, len(record.payload))
                    yield entry

    @property
    def references(self) -> frozenset[int]:
        """Objects on the disk that operations of the journal refer to; to be read between `load` and `start`."""
        return self._account.references.objects

    def start(self) -> None:
        """Run the writer thread."""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # --- for the engine's thread

    def append(self, number: int, entry: Entry) -> None:
        """Have an entry written with the next flush; `number` is larger than all before."""
        self._pending.append(entry)
        self._number = number

    def append_all(self, number: int, entries: Sequence[Entry]) -> None:
        """Have entries written with the next flush; `number` is that of the last."""
        self._pending += entries
        self._number = number

    def flush(self, *, at_once: bool = False) -> None:
        """Have all that was appended committed; with `at_once`, as nothing else is to be done, maybe by this thread.

        Without anything to commit it is accounted for what this thread has committed: those who wait were told before.
        """
        if not self._pending:
            if not self._account.is_settled:
                self._settle_here()
            return
        batch, self._pending = _Batch(self._number, self._pending), []
        if not (at_once and self._pace.is_quick and self._commits_here(batch)):
            self._handed += 1
            self._queue.put(batch)

    def _commits_here(self, batch: _Batch) -> bool:
        """Commit a small batch in this thread, if nothing stands before it; tell whether that was done."""
        if self._written != self._handed or self._failure is not None or not are_small(batch.entries):
            return False
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._space.is_full or not self._attempt(self._commit, [batch]):
                return False
        except BaseException as error:  # noqa: BLE001 - the writer thread ends by it, and the daemon by that
            self._handed += 1  # nothing is tried after it
            self._queue.put(error)
            return True
        finally:
            self._turn.release()
        self._committed(batch.last)
        return True

    def _settle_here(self) -> None:
        """Account for what this thread has committed, unless the writer thread is about to, and wakes that to tidy."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            self._settle()
            is_due = self._table.wants_checkpoint or self._upkeep.backlog > _CLEAN_BACKLOG
        finally:
            self._turn.release()
        if is_due:
            self._handed += 1
            self._queue.put(_Batch(self._number, []))

    async def read_outcome(self, operation: int) -> Outcome | None:
        """Read the recorded end of an operation from the disk; None when there is none.

        One that was damaged since it was written comes as `QUARANTINED`. Cancelling this leaves nothing behind.

        Raises:
            DiskError: the journal is broken or closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome | DiskError | None] = loop.create_future()

        def answer(outcome: Outcome | DiskError | None) -> None:
            with suppress(RuntimeError):  # the loop has ended since
                loop.call_soon_threadsafe(_resolve, future, outcome)

        self._queue.put(_Question(operation, answer))
        if self._thread is None or self._failure is not None or self._is_closing:
            raise DiskError("the journal is not open: results cannot be read")
        outcome = await future
        if isinstance(outcome, DiskError):
            raise outcome
        return outcome

    @property
    def size_bytes(self) -> int:
        """What the journal takes of the disk, as of the last time that it was tidied."""
        return self._size_bytes

    def close(self) -> None:
        """Commit all that was appended, fold the log in, and end the writer thread.

        Raises:
            DiskError: not all could be committed; nothing of what could not was ever acknowledged.
        """
        self.flush()
        if self._thread is None:
            self._table.close()
            return
        self._queue.put(None)
        self._thread.join()
        self._thread = None
        if self._failure is not None:
            raise DiskError(f"the journal was not closed in order: {self._failure}") from self._failure

    # --- the writer thread

    def _run(self) -> None:
        try:
            self._space.relieve()
            while not self._is_closing:
                self._receive()
                with self._turn:
                    self._settle()
                    self._write()
                    self._answer()
                    self._space.relieve(is_done=not self._batches)
                    self._tidy()
            self._finish()
        except BaseException as error:  # noqa: BLE001 - this thread's outermost door; the daemon ends by it
            self._fail(error)

    def _receive(self) -> None:
        """Take all that is queued; wait for something unless there is other work."""
        pause_s = RETRY_S if self._space.is_full else _IDLE_S if self._upkeep.backlog else None
        self._is_idle = True
        with suppress(Empty):
            item = self._queue.get(block=not self._has_work, timeout=pause_s)
            self._is_idle = False
            while True:
                if item is None:
                    self._is_closing = True
                elif isinstance(item, _Batch):
                    self._batches.append(item)
                elif isinstance(item, BaseException):
                    raise item
                else:
                    self._questions.append(item)
                item = self._queue.get_nowait()

    def _write(self) -> None:
        """Commit what is there, in portions; what does not fit on the disk stays for the next turn."""
        while self._batches:
            portion = self._portion()
            if not self._attempt(self._commit, portion):
                return
            del self._batches[: len(portion)]
            self._written += len(portion)
            if any(batch.entries for batch in portion):  # else it was only to have this thread tidy
                self._committed(portion[-1].last)
                self._settle()

    def _portion(self) -> list[_Batch]:
        portion: list[_Batch] = []
        count = 0
        for batch in self._batches:
            portion.append(batch)
            count += sum([len(one.operations) if type(one) is EndedAlike else 1 for one in batch.entries])
            if count >= BATCH_ENTRIES:
                break
        return portion

    def _commit(self, portion: list[_Batch]) -> None:
        entries: list[Entry] = []
        are_bare = True
        for batch in portion:
            if not are_bare_ends(batch.entries):
                are_bare = False
                preserve(batch.entries, self._keep)
            entries += batch.entries
        if not entries:
            return
        laid = lay_out(entries, self._next_row, are_bare=are_bare)
        self._pace.timed(partial(self._table.insert, [one.row for one in laid]))
        self._next_row += len(laid)
        self._account.wrote(laid)

    def _settle(self) -> None:
        """Account for what was written, and tell of the objects to which nothing refers any more since."""
        unreferenced = self._account.settle()
        if unreferenced:
            self._unreferenced(unreferenced)

    def _answer(self) -> None:
        """Answer whoever wants an outcome; what is not committed does not count."""
        for question in self._questions:
            question.answer(self._outcome(question.operation))
        self._questions.clear()

    def _outcome(self, operation: int) -> Outcome | None:
        row = self._upkeep.row_of_end(operation)
        found = self._table.read(row) if row else None
        if found is None:
            return None
        head, body = found
        told = read_head(head)
        end = find_end(row, told, body, operation) if told and isinstance(body, bytes) else None
        if end is not None:
            return end.outcome
        self._alarmed(f"journal row {row}: the end of operation {operation} was damaged while the journal was in use")
        return lost_outcome("end")

    def _tidy(self) -> None:
        """Keep the file small, as long as nobody waits; what is left to do is done in the next turns."""
        self._has_work = False
        if self._table.wants_checkpoint:
            self._attempt(self._table.checkpoint)
            self._size_bytes = self._table.size_bytes
        backlog = self._upkeep.backlog
        if backlog <= _CLEAN_BACKLOG and not self._queue.empty():
            return
        if backlog > _CLEAN_BACKLOG or (backlog and self._is_idle):
            self._has_work = self._has_freed = self._attempt(self._clean)
        elif self._has_freed and not backlog:
            self._has_freed = self._has_work = self._attempt(self._shrink) and self._can_shrink

    def _clean(self) -> None:
        for alarm in clean(self._table, self._upkeep):
            self._alarmed(alarm.message)

    def _shrink(self) -> None:
        self._can_shrink = self._table.shrink()
        self._size_bytes = self._table.size_bytes

    def _attempt(self, action: Callable[..., object], *arguments: object) -> bool:
        return self._space.attempt(self._table.rollback, action, *arguments)

    def _finish(self) -> None:
        """Close in order.

        Raises:
            DiskError: the disk is full and not all is on it.
        """
        if self._batches:
            raise DiskError(f"the disk of {self._path.parent} is full: what was not acknowledged is not kept")
        with suppress(sqlite3.Error):  # all is in the log already, and a full disk is no reason to fail
            self._table.checkpoint(truncate=True)
        self._table.close()

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, (sqlite3.Error, OSError)):
            error = DiskError(f"{self._path}: {error}")
        self._failure = error
        with suppress(sqlite3.Error):
            self._table.close()
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, _Question):
                    self._questions.append(item)
        for question in self._questions:
            question.answer(DiskError("the journal is broken: results cannot be read"))
        self._broken(error)


def _resolve(future: asyncio.Future[Outcome | DiskError | None], outcome: Outcome | DiskError | None) -> None:
    if not future.done():
        future.set_result(outcome)
