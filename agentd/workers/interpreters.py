"""What the Python that runs users' code is: its minor version, and the libraries that it has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from agentd.workers.inside import versions

ASK_S = 20.0
"""Until another Python must have said what it is (chosen: far above a cold start on a small device)."""


class Interpreter(NamedTuple):
    """One Python."""

    python: tuple[int, int]
    """Its minor version; zeros when that is not known."""
    libraries: dict[str, str]
    """Versions of those whose pickles other versions may not read."""


def describe(path: str) -> Interpreter:
    """Look at a Python; another one than our own is asked, which takes as long as it takes to start."""
    if path == sys.executable:
        return Interpreter(sys.version_info[:2], versions.installed(sys.path))
    try:
        program = [path, str(Path(versions.__file__))]
        asked = subprocess.run(program, capture_output=True, timeout=ASK_S, check=True, stdin=subprocess.DEVNULL)
        found = json.loads(asked.stdout)
        major, minor = found["python"]
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return Interpreter((0, 0), {})
    return Interpreter((int(major), int(minor)), dict(found["libraries"]))
