"""What the journal costs by itself: one commit, and entries per second by batch, with an idle and a busy engine thread.

    python benchmarks/journal_alone.py [--folder FOLDER] [--rounds N] [--json]

References come from the same run and the same folder, taken in turn with what is measured: one commit of SQLite with
synchronous=FULL of the same bytes, and one append with fdatasync. The busy thread computes without ever giving the
interpreter away by itself, which is the worst case: a real engine thread sleeps when it has nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from agentd.core.journal.entries import Accepted, Ended, Entry
from agentd.core.journal.recovery import fold
from agentd.model.task import Outcome, Template
from agentd.model.values import Payload
from agentd.store.disk import LocalDisk
from agentd.store.journal import Journal

BATCHES = (1, 64, 500)
TEMPLATE = Template("benchmark:function")


class Bench:
    """A journal whose commits can be waited for."""

    def __init__(self, folder: Path):
        self._told = threading.Event()
        self._wanted = 0
        self.number = 0
        self.journal = Journal(
            LocalDisk(),
            folder / "journal.db",
            self._committed,
            print,
            lambda: None,
            lambda _: os._exit(74),
            ballast_bytes=4096,
        )
        self.loaded = fold(self.journal.load()[0])
        self.journal.start()

    def _committed(self, number: int) -> None:
        if number >= self._wanted:
            self._told.set()

    def entry(self) -> Entry:
        self.number += 1
        if self.number % 2:
            return Accepted(self.number, TEMPLATE, Payload(1, bytes(60)), 1.0, 1.0)
        return Ended(self.number - 1, Outcome(value=Payload(1, bytes(60))), 1.0, 1.0)

    def commit(self, batch: int, busy: bool) -> tuple[float, float]:
        """Commit one batch; give the seconds until it is acknowledged, and those that the engine's thread spent."""
        entries = [self.entry() for _ in range(batch)]
        self._told.clear()
        self._wanted = self.number
        start = time.perf_counter()
        for number, entry in enumerate(entries, start=self.number - batch + 1):
            self.journal.append(number, entry)
        self.journal.flush()
        spent = time.perf_counter() - start
        while busy and not self._told.is_set():
            pass
        self._told.wait()
        return time.perf_counter() - start, spent


def sqlite_commit(folder: Path) -> Callable[[], float]:
    """Give what times one commit of a row, as plainly as SQLite can."""
    connection = sqlite3.connect(folder / "reference.db", isolation_level=None)
    for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE rows (body BLOB)")

    def once() -> float:
        start = time.perf_counter()
        connection.execute("INSERT INTO rows VALUES (?)", (bytes(150),))
        return time.perf_counter() - start

    return once


def append_sync(folder: Path) -> Callable[[], float]:
    """Give what times one append with fdatasync."""
    fd = os.open(folder / "reference.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def once() -> float:
        start = time.perf_counter()
        os.write(fd, bytes(150))
        os.fdatasync(fd)
        return time.perf_counter() - start

    return once


def measure(folder: Path, rounds: int) -> dict[str, object]:
    bench, plain, log = Bench(folder), sqlite_commit(folder), append_sync(folder)
    references: dict[str, list[float]] = {"SQLite commit": [], "append + fdatasync": []}
    latency: dict[str, list[float]] = {f"{batch} {mode}": [] for batch in BATCHES for mode in ("idle", "busy")}
    spent: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for at in range(rounds):
        references["SQLite commit"].append(plain())
        references["append + fdatasync"].append(log())
        for batch in BATCHES:
            took, on_thread = bench.commit(batch, busy=False)
            latency[f"{batch} idle"].append(took)
            spent[batch].append(on_thread / batch)
            if at % 10 == 0:
                latency[f"{batch} busy"].append(bench.commit(batch, busy=True)[0])
    operations = bench.number // 2
    bench.journal.close()
    start = time.perf_counter()
    again = Bench(folder)
    loading = time.perf_counter() - start
    again.journal.close()
    return {
        "references_us": {name: _us(values) for name, values in references.items()},
        "commit_us": {name: _us(values) for name, values in latency.items()},
        "entries_per_s": {
            name: round(int(name.split()[0]) / statistics.median(values)) for name, values in latency.items()
        },
        "engine_thread_us_per_entry": {str(batch): _us(values)["median"] for batch, values in spent.items()},
        "load_and_fold": {"entries": 2 * operations, "us_per_entry": round(loading / (2 * operations) * 1e6, 2)},
    }


def _us(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered) * 1e6, 2),
        "p99": round(ordered[int(len(ordered) * 0.99)] * 1e6, 2),
        "samples": len(ordered),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The journal by itself.")
    parser.add_argument("--folder", help="where to write; default: a temporary folder here")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="journal-", dir=options.folder or "."))
    try:
        found = measure(folder, options.rounds)
    finally:
        shutil.rmtree(folder)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for title, figures in found.items():
        print(title)
        for name, figure in figures.items():  # type: ignore[attr-defined]
            print(f"  {name:24} {figure}")


if __name__ == "__main__":
    main()
