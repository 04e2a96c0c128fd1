"""`agentd run`: an agent for one program; the program runs here, its tasks in the agent's workers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import agentd
from agentd.daemon.settings import process_environment
from cli.parsing import UsageError
from cli.processes import ending_in_order
from cli.service.fleet import Fleet
from cli.service.plan import Member

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.parsing import CommandLine

NAME = "run"
CLOSED = "0"
"""The user port unless it is asked for: the program needs none, and an agent without is ready in half the time."""
ALONE_S = "1"
"""Seconds after which a task fails that no host fits, as none can come to an agent without neighbours."""
PATIENCE_S = 10.0
"""How long the program may take to end after Ctrl-C or a request to end; chosen: then it is killed."""
_BEGIN = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: it does not outlive the agent that is there for it
sys.path.append(sys.argv[1])
from agentd.api.tasks.program import main
sys.exit(main(sys.argv[2:]))
"""
"""Becomes the program, with our packages last on its path: its own modules come first."""


def run(line: CommandLine) -> int:
    """Start an agent, run the program, stop the agent; gives the program's exit code."""
    script, *words = line.arguments
    path = Path(script)
    if not path.is_file():
        raise UsageError(f"there is no file {script}: give a program that is here", "run")
    with ending_in_order(), tempfile.TemporaryDirectory(prefix="agentd-run-", ignore_cleanup_errors=True) as folder:
        member = Member(NAME, 1, None, str(line.settings.pop("rest_port", CLOSED)))
        fleet = Fleet([member], Path(folder), _settings(line.settings, path))
        with fleet:
            fleet.await_ready()
            code = _run(path, words, Path(folder) / NAME / "state")
        if line.settings.get("summary"):
            _, title, table = fleet.output(NAME).partition("Summary:")
            print(title + table, file=sys.stderr, end="")  # stdout is the program's
        return code


def _settings(given: Mapping[str, str | bool | list[str]], script: Path) -> dict[str, str | bool | list[str]]:
    """Complete what was given: the program's own folder is where its modules are, all cores are its own."""
    paths = [str(script.resolve().parent), *filter(None, str(given.get("pythonpath") or "").split(":"))]
    cpu = str(len(os.sched_getaffinity(0)))
    alone = {} if given.get("project") else {"unschedulable_after": ALONE_S}
    return {"cpu": cpu, "local_access": "code", "grace_s": "0", **alone, **given, "pythonpath": ":".join(paths)}


def _run(script: Path, words: list[str], state: Path) -> int:
    root = str(Path(agentd.__file__).resolve().parents[1])
    command = [sys.executable, "-c", _BEGIN, root, str(state), str(script), *words]
    with subprocess.Popen(command, env=process_environment()) as program:
        try:
            return _code(program.wait())
        except (KeyboardInterrupt, SystemExit) as asked:
            if isinstance(asked, SystemExit):  # of Ctrl-C the terminal has told the program too
                program.terminate()
            try:
                program.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                program.kill()
            raise


def _code(code: int) -> int:
    """Give the exit code as a shell has it: a signal is 128 and its number."""
    return 128 - code if code < 0 else code
