"""Saying that the agent is ready: a file for programs, a line for people, and what they should know."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from agentd.api.places import ANNOUNCED
from agentd.daemon.in_force import leave_word
from agentd.store.disk import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from agentd.core.state import Identity
    from agentd.daemon.settings import Settings
    from agentd.daemon.users.agent import Agent
    from agentd.store.disk import Disk

INSECURE = "--insecure: whoever reaches the ports of this agent can run code here, and everybody on the way reads along"

log = logging.getLogger("agentd")


def announce(disk: Disk, folder: Path, settings: Settings, identity: Identity, agent: Agent, first_token: str) -> None:
    """Write the ready files, log what an operator should know, and say on stdout where the agent is.

    `first_token` was made at this start, or is empty; it is shown this once, and not in the log.
    """
    content = {
        "name": identity.name,
        "pid": os.getpid(),
        "rest": agent.rest,
        "comm": agent.comm,
        "boot": identity.boot,
        "state": str(folder),
        "certificate": agent.pairing.certificate if settings.rest_tls else "",
    }
    if settings.insecure:
        agent.warnings.append(INSECURE)
    for warning in agent.warnings:
        log.warning("%s", warning)
    # Each after what its readers go on to use: the commands find the agent that stdout speaks of, and whoever waits for
    # the ready file finds all that was said.
    text = msgspec.json.encode(content) + b"\n"
    leave_word(disk, folder, identity.boot, settings)
    write_file(disk, folder / "agent.json", text)
    _announce_to_tasks(disk, folder, text)
    doors = [f"REST {agent.rest}" if agent.rest else "", f"Comm {agent.comm}" if agent.comm else ""]
    lines = [f"agentd {identity.name} is ready: {', '.join(filter(None, doors))}"]
    if first_token:
        lines += [
            f"first start: token {first_token}",
            "  has the scope admin, and is shown this once; `agentd token revoke first` makes it worthless",
            f"  certificate of this agent: sha256 {agent.pairing.fingerprint}",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    if settings.ready_file is not None:
        write_file(disk, settings.ready_file, text)


def _announce_to_tasks(disk: Disk, folder: Path, text: bytes) -> None:
    """Put what users' code needs to call this agent where it may look, under a name of its own for the same socket."""
    shown = folder / ANNOUNCED
    disk.make_folder(shown)
    write_file(disk, shown / "agent.json", text)
    disk.unlink(shown / "agent.sock")
    with suppress(OSError):  # some file systems have no second names: REST is left
        disk.link(folder / "agent.sock", shown / "agent.sock")
