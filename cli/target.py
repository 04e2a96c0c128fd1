"""Which agent a command is for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.api.places import find, state_folder
from agentd.api.routes.client import Agent, with_rest
from agentd.model.errors import ConfigError
from cli.parsing import UsageError

if TYPE_CHECKING:
    from agentd.api.places import Place
    from cli.parsing import CommandLine

DEFAULT_HOST, DEFAULT_PORT = "localhost", "46101"
_TOKEN_CAP_BYTES = 4096

# httpx loads a command of its own, with click, rich and Pygments: a sixth of the time of a command of ours. Where there
# is none, as where those are not installed, it does without.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


def agent_of(line: CommandLine) -> Agent:
    """Make the client of the agent that the line names: an address, a host and port, or that of this device.

    Raises:
        UsageError: two agents are named.
        ConfigError: the address is none, or the token file cannot be read.
        Unreachable: there is no agent on this device.
    """
    return Agent(place_of(line))


def place_of(line: CommandLine) -> Place:
    """Find where the agent that the line names is now; raises as `agent_of`."""
    named = line.text("agent")
    host, port = line.text("agent_node"), line.text("agent_port")
    state = _state(line)
    if sum(given is not None for given in (named, host or port, state)) > 1:
        raise UsageError("name the agent once: --agent, --agent-node with --agent-port, or --state", line.command.name)
    return with_rest(find(_address(line, named, host, port, state), _token(line)))


def _address(
    line: CommandLine, named: str | None, host: str | None, port: str | None, state: Path | None
) -> str | Path | None:
    if named is not None:
        return named
    if host is not None or port is not None:
        return _host_port(host or DEFAULT_HOST, port or DEFAULT_PORT)
    if state is not None:
        return state
    if line.is_compss and not (state_folder() / "agent.json").exists():
        return _host_port(DEFAULT_HOST, DEFAULT_PORT)
    return None


def _host_port(host: str, port: str) -> str:
    if "://" in host:
        return host
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"--agent-port {port!r}: give a port from 1 to 65535")
    return f"http://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"http://{host}:{port}"


def _token(line: CommandLine) -> str | None:
    path = line.text("token_file")
    if path is None:
        return None
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(_TOKEN_CAP_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {path} cannot be read: {error}") from error


def folder_of(line: CommandLine) -> Path:
    """Give the state folder that the line names."""
    return _state(line) or state_folder()


def _state(line: CommandLine) -> Path | None:
    text = line.text("state")
    if text == "":
        raise UsageError("--state is empty: name a folder, or leave it out", line.command.name)
    return None if text is None else Path(text).expanduser().absolute()
