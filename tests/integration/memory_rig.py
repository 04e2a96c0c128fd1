"""A group of processes with little memory, in which the kernel kills for want of it (cgroup version 1; needs root)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

GROUPS = Path("/sys/fs/cgroup/memory")
LIMIT_MIB = 400
"""Above what an agent with two workers takes, far below what the device has."""


@contextmanager
def little_memory() -> Iterator[tuple[str, ...]]:
    """Give a prefix of commands that run in such a group; who is still in there at its end is moved out."""
    made = GROUPS / f"agentd-test-{os.getpid()}"
    try:
        made.mkdir()
        (made / "memory.limit_in_bytes").write_text(str(LIMIT_MIB << 20))
    except OSError as error:
        pytest.skip(f"a group with a limit of memory cannot be made here: {error}")
    joined = made / "cgroup.procs"
    enter = f"import os, sys; open({str(joined)!r}, 'w').write('0'); os.execvp(sys.argv[1], sys.argv[1:])"
    try:
        yield sys.executable, "-c", enter
    finally:
        for pid in joined.read_text().split():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                (GROUPS / "cgroup.procs").write_text(pid)
        made.rmdir()
