"""What this machine is, whatever is set: its name, its cores, its memory."""

from __future__ import annotations

import os
import re
import socket


def machine_name() -> str:
    """Give the machine's name in the letters that an agent's may have."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).strip("-._")
    return name or "agent"


def machine_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def machine_memory_mib() -> int:
    """Measure the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
