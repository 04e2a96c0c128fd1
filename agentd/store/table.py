"""The journal's database: one table of rows, one of what was damaged, one connection.

Law: exactly one connection, exclusive, in WAL mode with synchronous=FULL. NORMAL loses commits when the power goes
(https://www.sqlite.org/pragma.html#pragma_synchronous), and several connections meet the WAL-reset bug of SQLite
before 3.51.3. Checkpoints are made by us, since SQLite ignores the errors of those that it makes by itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentd.model.errors import ConfigError, DiskError, StateInUse
from agentd.store.disk import Disk, is_full, refuse_link
from agentd.store.records import Row

APPLICATION_ID = 0x61676A6C
"""Chosen: `agjl`; tells a journal from any other SQLite file."""

CHECKPOINT_BYTES = 4 << 20
"""Chosen: the WAL is then reused from its start; small enough to be read in 20 ms after a crash."""

WAL_KEPT_BYTES = 8 << 20
"""Chosen: a WAL is shortened to this. Overwriting is twice as fast as growing a file (measured)."""

_PAGE_BYTES = 4096
"""Of the database; SQLite's default, and the page of memory and of most disks."""
_VACUUM_PAGES = 256
"""Free pages that are given back to the file system at a time (chosen: a commit waits little for it)."""
_VACUUM_AT = 0.25
"""Share of free pages from which on they are given back (chosen: what is freed is mostly written again soon)."""
_QUARANTINE_MOST = 1000
"""Damaged records that are kept for people to look at (chosen)."""
_INSERT = "INSERT INTO rows (id, head, body) VALUES (?, ?, ?)"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {APPLICATION_ID}",
        "CREATE TABLE rows (id INTEGER PRIMARY KEY, head BLOB NOT NULL, body BLOB NOT NULL)",
        "CREATE TABLE quarantine (id INTEGER PRIMARY KEY, found TEXT NOT NULL, of_row INTEGER NOT NULL, raw BLOB)",
    ),
    (),  # from here on rows may hold ends that are told together, which older ones cannot read
)
"""Statements that lead from each version of the schema to the next; the last one is `user_version`."""


class Table:
    """An open journal database. All methods raise `sqlite3.Error` as it comes; see `translated`."""

    def __init__(self, disk: Disk, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        """Open, or make, the database and bring it to this version.

        Raises:
            ConfigError: it was made by a newer agentd, or is no journal.
            StateInUse: another process holds it.
            Damaged: not even its start can be read.
            DiskError: the disk failed.
        """
        self._disk = disk
        self.path = path
        self._written_bytes = 0
        with translated(path):
            self._create(disk, path)
            self._connection = disk.connect(path)
            try:
                self._pragma("locking_mode = EXCLUSIVE")  # before anything is read: no shared memory is made then
                version = self._version(len(migrations))
                self._configure()
                self._migrate(version, migrations)
            except BaseException:
                self._connection.close()
                raise

    @staticmethod
    def _create(disk: Disk, path: Path) -> None:
        """Make the file for us alone, durably; SQLite would make it readable for all, and leave its name unsynced.

        Raises:
            ConfigError: there is a link in its place, or in that of its log.
        """
        try:
            disk.close(disk.create(path))
        except FileExistsError:
            for name in (path, wal_of(path)):
                refuse_link(disk, name)
            return
        disk.sync_folder(path.parent)

    def _configure(self) -> None:
        for name, value in (
            ("page_size", _PAGE_BYTES),
            ("auto_vacuum", "INCREMENTAL"),
            ("mmap_size", 0),  # an error of a mapped page is a SIGBUS
            ("journal_mode", "WAL"),
            ("synchronous", "FULL"),
            ("wal_autocheckpoint", 0),
            ("journal_size_limit", WAL_KEPT_BYTES),
            ("secure_delete", "OFF"),
            ("temp_store", "MEMORY"),
            ("trusted_schema", "OFF"),
            ("cell_size_check", "ON"),
        ):
            self._pragma(f"{name} = {value}")
        if self._pragma("journal_mode") != "wal" or self._pragma("synchronous") != 2:
            raise DiskError(f"{self.path}: SQLite does not give a write-ahead log here; use another file system")

    def _version(self, known: int) -> int:
        """Give the version of the schema, 0 for a file that is new."""
        version, application = int(self._pragma("user_version")), int(self._pragma("application_id"))
        is_new = not (version or application or self._query("SELECT 1 FROM sqlite_schema LIMIT 1"))
        if not is_new and application != APPLICATION_ID:
            raise ConfigError(f"{self.path} is no journal of agentd: move it away, or give another --state")
        if version > known:
            raise ConfigError(
                f"{self.path} was made by a newer agentd (journal version {version}, this one knows up to {known}): "
                "use that version, or another --state"
            )
        return version

    def _migrate(self, version: int, migrations: Sequence[Sequence[str]]) -> None:
        with self.transaction():  # also takes the lock when there is nothing to do
            for number, statements in enumerate(migrations[version:], start=version + 1):
                for statement in statements:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {number}")

    def _pragma(self, text: str) -> int | str:
        row = self._connection.execute(f"PRAGMA {text}").fetchone()
        return row[0] if row else 0

    def _query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return self._connection.execute(statement, values).fetchall()

    # --- writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all that is done inside, on the disk; or nothing of it."""
        self._connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise

    def rollback(self) -> None:
        """Undo what is not committed. Nothing to undo is no error."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def insert(self, rows: Sequence[Row]) -> None:
        """Add rows; they are on the disk when this returns.

        One row goes as one statement: each one gives the interpreter away, and a busy thread keeps it for 5 ms.
        """
        if len(rows) == 1:
            self._connection.executemany(_INSERT, rows)  # of execute and executemany the one that gives it away less
            self._count(rows)
        else:
            with self.transaction():
                self.add(rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows; within a transaction."""
        self._connection.executemany(_INSERT, rows)
        self._count(rows)

    def update(self, rows: Sequence[Row]) -> None:
        """Put rows in the place of those with their numbers; within a transaction."""
        self._connection.executemany(
            "UPDATE rows SET head = ?2, body = ?3 WHERE id = ?1",
            rows,
        )
        self._count(rows)

    def delete(self, rows: Sequence[int]) -> None:
        """Remove rows; within a transaction."""
        self._connection.executemany("DELETE FROM rows WHERE id = ?", [(row,) for row in rows])
        self._written_bytes += _PAGE_BYTES * len(rows)

    def quarantine(self, row: int, found: str, raw: bytes | None) -> None:
        """Keep what was damaged, for whoever wants to look at it; the newest thousand."""
        self._connection.execute("INSERT INTO quarantine (found, of_row, raw) VALUES (?, ?, ?)", (found, row, raw))
        self._connection.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (_QUARANTINE_MOST,)
        )

    def _count(self, rows: Sequence[Row]) -> None:
        for _, head, body in rows:
            self._written_bytes += len(head) + len(body) + 3 * _PAGE_BYTES

    # --- reading

    def is_whole(self) -> bool:
        """Tell whether the file's own structure is sound: every page is in use once, or free."""
        try:
            return self._pragma("quick_check(1)") == "ok"
        except sqlite3.DatabaseError as error:
            if is_damaged(error):
                return False
            raise

    def scan(self) -> Iterator[tuple[int, object, object]]:
        """Give all rows in order; not to be mixed with writing."""
        yield from self._connection.execute("SELECT id, head, body FROM rows ORDER BY id")

    def read(self, row: int) -> tuple[object, object] | None:
        """Give head and body of a row."""
        found = self._query("SELECT head, body FROM rows WHERE id = ?", row)
        return (found[0][0], found[0][1]) if found else None

    def bounds(self) -> tuple[int, int]:
        """Give the smallest and the largest number of a row, (0, 0) when there are none."""
        low, high = self._connection.execute("SELECT min(id), max(id) FROM rows").fetchone()
        return (low or 0, high or 0)

    @property
    def quarantined(self) -> int:
        """How many damaged records are kept."""
        return int(self._connection.execute("SELECT count(*) FROM quarantine").fetchone()[0])

    @property
    def size_bytes(self) -> int:
        """What the journal takes of the disk."""
        return self._disk.size(self.path) + self._disk.size(wal_of(self.path))

    # --- keeping it small

    @property
    def wants_checkpoint(self) -> bool:
        """Tell whether so much was written that the log should be folded into the database."""
        return self._written_bytes >= CHECKPOINT_BYTES

    def checkpoint(self, *, truncate: bool = False) -> None:
        """Fold the log into the database; the next write starts the log anew."""
        try:
            is_busy = self._pragma(f"wal_checkpoint({'TRUNCATE' if truncate else 'PASSIVE'})")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_IOERR_TRUNCATE:
                raise
            return  # nothing is lost by what would not be shortened: the log has all until a checkpoint succeeds
        if is_busy:
            raise DiskError(f"{self.path}: the log cannot be folded in, although nobody else has it open")
        self._written_bytes = 0

    def shrink(self) -> bool:
        """Give some free pages back to the file system; tell whether there were enough to do so."""
        free, pages = int(self._pragma("freelist_count")), int(self._pragma("page_count"))
        if free < _VACUUM_PAGES or free < pages * _VACUUM_AT:
            return False
        self._connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
        self._written_bytes += _PAGE_BYTES * 8
        return True

    def close(self) -> None:
        """Let the database go, as it is."""
        self._connection.close()


class Damaged(DiskError):
    """The file's own structure is broken."""


def wal_of(path: Path) -> Path:
    """Name the write-ahead log of a database."""
    return path.with_name(path.name + "-wal")


def is_damaged(error: sqlite3.Error) -> bool:
    """Tell whether SQLite says that the file's own structure is broken."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk raise into our errors, but for a full disk, which is the caller's to handle.

    Raises:
        StateInUse: another process has it open.
        Damaged: the file's own structure is broken.
        DiskError: anything else.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise StateInUse(f"another process has {path} open: stop it, or give another --state") from error
        if is_damaged(error):
            raise Damaged(f"{path} is damaged ({error}): move it away to start anew, or restore a copy") from error
        raise DiskError(f"{path}: {error}" + (" (the disk is full)" if is_full(error) else "")) from error
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror}") from error
