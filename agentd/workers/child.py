"""The program that the daemon starts, by path, with any Python from 3.10 on: it becomes the spawner of workers.

It loads its own modules under a name that users' code does not use, and nothing of the daemon.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path


def main() -> None:
    """Load the inside of a worker by path and run it."""
    if sys.version_info < (3, 10):  # noqa: UP036 - the interpreter is the operator's choice
        sys.exit(f"workers need Python 3.10 or newer; {sys.executable} is {sys.version.split()[0]}")
    package = types.ModuleType("_agentd_worker")
    package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules[package.__name__] = package
    importlib.import_module("_agentd_worker.inside.spawner").main()


if __name__ == "__main__":
    main()
