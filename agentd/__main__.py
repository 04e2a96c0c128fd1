"""`python -m agentd`, and the entry of every installed command.

Law: our packages are found beside this file before anything else, so that a folder on the PYTHONPATH with a `cli.py`
of its own changes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.machinery import ModuleSpec, PathFinder

_OURS = frozenset({"agentd", "cli", "schedulers", "resources_xml"})


class BesideUs:
    """Finds our packages in the folder that holds this one; knows no others.

    A finder by its method alone: the base class of the standard library takes 30 ms to load (measured).
    """

    def __init__(self, folder: str) -> None:
        self._path = [folder]

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """Find a package of ours (importlib's protocol)."""
        del path, target
        return PathFinder.find_spec(fullname, self._path) if fullname in _OURS else None


def main() -> int:
    """Run the command that the program's name and arguments stand for; gives the exit code."""
    sys.meta_path.insert(0, BesideUs(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # Ctrl-C while modules are loaded, seconds from a slow card: no traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.app import main as run  # only now is it ours that is found

    signal.signal(signal.SIGINT, handler)
    return run(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
