"""What a daemon has let go of is the kernel's again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FLOOD = """
import os
from agentd.daemon.memory import give_back
def resident():
    return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') >> 20
before, stay = resident(), []
blocks = []
for number in range(2_000):
    blocks.append(bytes(50_000))
    stay.append(bytes(2_000))  # too large for the interpreter's own pools: it lies between the blocks
full, _ = resident(), blocks.clear()
left = resident()
give_back()
print(full - before, left - before, resident() - before)
"""


@pytest.mark.skipif(
    "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"), reason="other C libraries give back by themselves"
)
def test_free_space_between_what_stays_is_given_back() -> None:
    """Of 95 MiB most stay with the process when all but a few of them are gone; after the look they do not."""
    command = [sys.executable, "-c", FLOOD]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)})
    full, left, kept = map(int, done.stdout.split())
    assert full > 80
    assert left > 60
    assert kept < 30
