"""A process that writes to a journal until it is killed, and tells on stdout what was acknowledged."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from queue import SimpleQueue

from agentd.core.journal.entries import Accepted, Ended, Forgotten
from agentd.model.task import Outcome, Template
from agentd.model.values import Payload
from agentd.store.disk import LocalDisk, open_state
from agentd.store.journal import Journal

BATCH = 5
KEPT = 200


def main(folder: str, first: int) -> None:
    state = open_state(Path(folder))
    acknowledged: SimpleQueue[int] = SimpleQueue()
    journal = Journal(
        LocalDisk(),
        state.path / "journal.db",
        acknowledged.put,
        lambda message: os._exit(3),
        lambda: None,
        lambda error: os._exit(4),
        ballast_bytes=64 * 1024,
    )
    for _ in journal.load()[0]:
        pass
    journal.start()
    number, operation = 0, first
    while True:
        for _ in range(BATCH):
            number += 2
            journal.append(number - 1, Accepted(operation, Template("f"), Payload(1, b"a" * 700), 1.0, 1.0))
            journal.append(number, Ended(operation, Outcome(value=Payload(1, b"%d" % operation)), 1.0, 1.0))
            operation += 1
        if operation - first > KEPT and operation % 50 < BATCH:
            number += 1
            journal.append(number, Forgotten(tuple(range(operation - KEPT - 50, operation - KEPT))))
        journal.flush()
        while acknowledged.get() < number:
            pass
        os.write(1, b"%d\n" % (operation - 1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
