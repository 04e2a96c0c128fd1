"""Agents under mixed work and faults for a while: what they hold does not grow.

AGENTD_SOAK_S says for how many seconds (`make soak`: an hour). Most of that is waiting, so it may run beside others;
nothing here depends on how much is done in that time.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import statistics
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.daemon_rig import WITH_APPS, Door

SOAK_S = float(os.environ.get("AGENTD_SOAK_S", "120"))
BURST = 20
SLACK_MIB = 8.0
"""By so much memory may grow in the second half (chosen: by 1 MiB it does in a minute, by less in each one after)."""
SLACK_FILES = 12
"""Files and sockets that may be open at one moment and not at another."""


class Sample(NamedTuple):
    """What a daemon holds at one moment."""

    at_s: float
    rss_mib: float
    files: int
    journal_mib: float


def sample(pid: int, state: Path) -> Sample:
    """Look at a daemon from outside."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    journal = sum(path.stat().st_size for path in state.glob("journal.db*"))
    return Sample(
        time.monotonic(),
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(os.listdir(f"/proc/{pid}/fd")),
        journal / 2**20,
    )


def burst(door: Door, chance: random.Random) -> list[str]:
    """Submit a bit of everything: short, failing, crashing, chatty, and with values worth shared memory."""
    kinds = (
        {"function": "sums:increment", "args": [1]},
        {"function": "sums:nap", "args": [0.3]},
        {"function": "sums:fail"},
        {"function": "sums:greet", "args": ["x" * 100], "kwargs": {"times": 5}},
        {"function": "sums:increment", "args": [1], "idempotent": False},
    )
    items = [dict(chance.choice(kinds)) for _ in range(BURST)]
    return [row["operation"]["id"] for row in door.batch(items)]


def kill_a_worker(pid: int, chance: random.Random) -> None:
    """End one process that runs users' code, if there is one."""
    with suppress(FileNotFoundError, ProcessLookupError):  # one of them has just ended by itself, as many here do
        spawners = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        workers = [
            int(worker)
            for spawner in spawners
            for worker in Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()
        ]
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)


@pytest.mark.timeout(SOAK_S * 1.5 + 180)
def test_what_an_agent_holds_does_not_grow(start_agent):
    """Memory, open files and the journal are after a while what they were, whatever failed meanwhile."""
    helper = start_agent(*WITH_APPS, "--hostname", "helper", "--cpu", "2")
    limits = ("--keep-operations", "200", "--keep-s", "1", "--lease-s", "2", "--heartbeat-s", "0.4")
    agent = start_agent(*WITH_APPS, "--hostname", "own", "--cpu", "1", "--neighbour", f"helper={helper.comm}", *limits)
    door, chance = Door(agent.rest, agent.state), random.Random(7)
    samples, states = [], set()
    ends = time.monotonic() + SOAK_S
    for number in itertools.count():
        begun = time.monotonic()
        if begun >= ends:
            break
        ids = burst(door, chance)
        if number % 5 == 1:
            kill_a_worker(agent.pid, chance)
        if number % 7 == 3:
            os.kill(helper.pid, signal.SIGSTOP)
        states |= {door.wait(operation)["state"] for operation in ids[: BURST // 2]}
        if number % 7 == 3:
            os.kill(helper.pid, signal.SIGCONT)
        states |= {door.wait(operation)["state"] for operation in ids[BURST // 2 :]}
        for operation in ids:
            door.client.get(f"/v1/operations/{operation}/result")
        samples.append(sample(agent.pid, agent.state))
    assert states <= {"done", "failed", "lost_unknown", "quarantined"}
    assert {"done", "failed"} <= states
    print(told := report(samples))
    half = samples[len(samples) // 2 :]
    assert slope_mib_per_s(half) * (half[-1].at_s - half[0].at_s) <= SLACK_MIB, told
    third = max(len(samples) // 3, 1)
    first, last = samples[:third], samples[-third:]
    assert min(one.files for one in last) <= max(one.files for one in first) + SLACK_FILES, told
    assert min(one.journal_mib for one in last) <= 2 * max(one.journal_mib for one in first) + 1.0, told


def slope_mib_per_s(samples: list[Sample]) -> float:
    """Say how fast memory grows: the median over pairs of moments, which single peaks do not change (Theil and Sen)."""
    few = samples[:: len(samples) // 200 + 1]
    slopes = [
        (later.rss_mib - sooner.rss_mib) / (later.at_s - sooner.at_s)
        for sooner, later in itertools.combinations(few, 2)
        if later.at_s > sooner.at_s
    ]
    return statistics.median(slopes) if slopes else 0.0


def report(samples: list[Sample]) -> str:
    """Say what was seen, at ten moments."""
    rows = samples[:: max(len(samples) // 10, 1)]
    lines = [
        f"{row.at_s - samples[0].at_s:8.0f} s {row.rss_mib:7.1f} MiB of memory, {row.files} files, " for row in rows
    ]
    return "\n".join(line + f"{row.journal_mib:.1f} MiB of journal" for line, row in zip(lines, rows, strict=True))


@pytest.mark.parametrize(("leak_mib_per_s", "is_seen"), [(0.0, False), (0.5, True)])
def test_the_slope_tells_a_leak_from_noise(leak_mib_per_s: float, is_seen: bool) -> None:
    """Peaks of an allocator are no growth; half a MiB each second is, under the same peaks."""
    chance = random.Random(3)
    samples = [
        Sample(at, 60 + leak_mib_per_s * at + (30 if chance.random() < 0.1 else chance.random()), 20, 1.0)
        for at in range(60)
    ]
    assert (slope_mib_per_s(samples) * 60 > SLACK_MIB) == is_seen
