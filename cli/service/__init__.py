"""`agentd start-service`: several linked agents on this machine, while they are wanted or for one operation."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.api.routes.compss import start_application
from agentd.model.errors import AgentdError
from agentd.model.figures import counted
from cli.call import check_language, function_of
from cli.parsing import UsageError
from cli.processes import ending_in_order
from cli.service.fleet import Fleet
from cli.service.plan import BASE, TOPOLOGIES, Member, links, members

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.parsing import CommandLine

FAILED, GAVE_UP = 1, 124
MOST = 99
"""Agents of one service: their names end in two digits (specified)."""
HIGHEST = 65535 - 100 * MOST - 2
"""From which the ports of all agents can be counted."""
LOOK_S = 0.2
"""How often it is looked whether the agents still run (chosen)."""
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def run(line: CommandLine) -> int:
    """Start the agents, link them, run what was asked for, and stop them."""
    check_language(line)
    topology = (line.text("topology") or "plain").lower()
    if topology not in TOPOLOGIES:
        raise UsageError(f"--topology {topology!r} is none of {', '.join(TOPOLOGIES)}", line.command.name)
    wanted = members(_count(line), line.text("agent_name_prefix") or "127.0.0.", _base(line))
    limit_s = _limit_s(line)
    asked = _asked(line)
    folder = _folder(line)
    with ending_in_order(), Fleet(wanted, folder, line.settings) as fleet:
        say = _teller(line, folder)
        say(f"logs are in {folder}")
        return _serve(line, fleet, topology, limit_s, asked, say)


def _serve(
    line: CommandLine,
    fleet: Fleet,
    topology: str,
    limit_s: float | None,
    asked: tuple[str, str] | None,
    say: Callable[[str], None],
) -> int:
    end_s = None if limit_s is None else time.monotonic() + limit_s
    fleet.await_ready()
    cores = {name: agent.agent().cores for name, agent in fleet.agents.items()}
    wanted = links(topology, list(fleet.members), cores)
    for link in wanted:
        fleet.link(link)
        say(f"{link.owner} may use {counted(link.cores, 'core')} of {link.neighbour}")
    fleet.await_links(wanted)
    for member in fleet.members:
        say(f"{member.name} is ready: REST {fleet.rest[member.name]}, Comm {fleet.comm[member.name]}")
    first = fleet.members[0]
    if asked is not None:
        _call(line, fleet, first, *asked)
        say(f"{line.arguments[0]} was called on {first.name}")
    elif not line.flag("silent"):
        say("stop with Ctrl-C" + (f", or wait {limit_s:g} s" if limit_s is not None else ""))
    return _wait(fleet, first, end_s, say, has_call=asked is not None)


def _asked(line: CommandLine) -> tuple[str, str] | None:
    """Give module and function of the operation that is to be run; None: the agents are wanted for themselves.

    Raises:
        UsageError: what was named is no function.
    """
    if not line.arguments:
        return None
    target = line.arguments[0]
    if not line.is_compss and target.endswith(".py") and ":" not in target:
        raise UsageError(f"{target!r}: a service runs a function: name it as MODULE:FUNCTION", line.command.name)
    module, _, method = function_of(line, target, line.text("method_name")).partition(":")
    return module, method


def _call(line: CommandLine, fleet: Fleet, first: Member, module: str, method: str) -> None:
    """Ask the first agent for the operation, at whose end all agents stop."""
    _, *words = line.arguments
    others = [fleet.rest[member.name] for member in fleet.members if member is not first]
    fleet.agents[first.name].send(
        start_application(module, method, words, as_array=line.flag("array"), stops=True, forward_to=others)
    )


def _wait(fleet: Fleet, first: Member, end_s: float | None, say: Callable[[str], None], *, has_call: bool) -> int:
    """Wait until all agents have ended, or the time is over.

    Raises:
        AgentdError: one ended that should not have.
    """
    while fleet.running():
        if end_s is not None and time.monotonic() >= end_s:
            say("the time is over: the agents are stopped")
            return GAVE_UP if has_call else 0
        if not has_call and (gone := fleet.ended()):
            raise AgentdError(f"the agent {gone[0]} {fleet.last_words(gone[0])}")
        time.sleep(LOOK_S)
    if "Job completed after " in fleet.output(first.name):
        say("Execution ended succesfully")
        return 0
    say(f"the operation failed: see {fleet.folder / first.name}.outputlog and {first.name}/jobs beside it")
    return FAILED


def _teller(line: CommandLine, folder: Path) -> Callable[[str], None]:
    """Give what tells people how it goes: on stdout unless they want silence, and in the service's own log."""

    def say(words: str) -> None:
        if not line.flag("silent"):
            print(words, flush=True)
        with (folder / "outputlog").open("a", encoding="utf-8") as log:
            log.write(words + "\n")

    return say


def _folder(line: CommandLine) -> Path:
    given = line.text("log_dir")
    if given is not None:
        return Path(given).expanduser().absolute()
    return Path.home() / ".COMPSs" / time.strftime("%Y%m%d-%H%M%S")


def _count(line: CommandLine) -> int:
    text = line.text("num_agents") or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise UsageError(f"--num-agents {text!r}: give a whole number from 1 to {MOST}", line.command.name)
    return int(text)


def _base(line: CommandLine) -> int | None:
    text = line.text("base_port") or str(BASE)
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= HIGHEST:
        raise UsageError(f"--base-port {text!r}: give auto, or a number from 1 to {HIGHEST}", line.command.name)
    return int(text)


def _limit_s(line: CommandLine) -> float | None:
    text = line.text("exec_time")
    if text is None:
        return None
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--exec-time {text!r}: write 90, 90s, 5m or 1h", line.command.name)
    return float(found.group(1)) * _UNIT_S[found.group(2)]
