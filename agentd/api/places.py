"""Where an agent is: the state folder of this device, and the forms in which an address may be given.

Law: a token found in a state folder is sent to the agent of that folder only, one that was given at a login only to
the agent that gave it.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentd.api import logins
from agentd.model.errors import ConfigError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_FILE_BYTES = 64 * 1024
"""Cap on the small files read here; a ready file takes some 300 bytes. Chosen."""

ANNOUNCED = "announced"
"""Folder in a state folder for what users' code may see of it, while all else is kept from it."""

_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s/:@]+):(\d{1,5})")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Place:
    """One agent's whereabouts. `url` and `socket` may each be missing, never both."""

    url: str
    """Base of its REST interface, without a slash at the end; empty: it has none."""
    socket: Path | None = None
    """Its Unix socket, when it is on this device."""
    token: str = field(default="", repr=False)
    name: str = ""
    certificate: str = field(default="", repr=False)
    """PEM of the only certificate that is believed there; empty: whatever an authority vouches for."""
    pid: int = 0
    """Process of an agent of this device; 0: not known."""

    @property
    def where(self) -> str:
        """The address as a person would be told it."""
        return self.url or str(self.socket)


def state_folder() -> Path:
    """Give the state folder of this user's agent: `$AGENTD_STATE`, else the platform's place for state.

    The platform's place is that of the XDG base directory specification, `$XDG_STATE_HOME` or `~/.local/state`.
    """
    named = os.environ.get("AGENTD_STATE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "agentd"


def find(address: str | os.PathLike[str] | None = None, token: str | None = None) -> Place:
    """Resolve an address: None or a path name a state folder of this device; `http(s)://…` or `host:port` an agent.

    Raises:
        ConfigError: the text is no address.
        Unreachable: no agent has left word in the state folder.
    """
    if address is None or isinstance(address, os.PathLike):
        return of_folder(state_folder() if address is None else Path(address), token)
    text = address.strip()
    if "://" in text:
        return _of_url(_checked_url(text), token)
    match = _HOST_PORT.fullmatch(text)
    if match is not None and not Path(text).is_dir():
        return _of_url(_checked_url(f"http://{text}"), token)
    if not text:
        raise ConfigError("the agent's address is empty: give host:port, http(s)://host:port, or a state folder")
    return of_folder(Path(text).expanduser(), token)


def of_folder(folder: Path, token: str | None = None) -> Place:
    """Read what the agent of a state folder has left there.

    Raises:
        Unreachable: it has left nothing, or nothing that can be understood.
    """
    ready = read_ready(folder)
    if ready is None and is_anothers(folder):
        raise Unreachable(
            f"{folder} is the state folder of another user, and for that one alone: ask its agent by its address, "
            "--agent HOST:PORT, with a token that its user has made (`agentd token add NAME`)"
        )
    if ready is None:
        raise Unreachable(
            f"no agent has announced itself in {folder}: start one with `agentd start`, or name another "
            "(an address, or its state folder in AGENTD_STATE)"
        )
    sockets = (folder / "agent.sock", folder / ANNOUNCED / "agent.sock")
    return Place(
        url=_as_url(ready.get("rest")),
        socket=next((socket for socket in sockets if socket.exists()), None),
        token=token if token is not None else read_token(folder),
        name=str(ready.get("name") or ""),
        certificate=str(ready.get("certificate") or ""),
        pid=pid if isinstance(pid := ready.get("pid"), int) else 0,
    )


def has_died(pid: int) -> bool:
    """Tell whether a process of this device has ended; not known of 0."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def is_anothers(folder: Path) -> bool:
    """Tell whether a folder is there that we may not look into."""
    try:
        (folder / "agent.json").stat()
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def is_running(ready: Mapping[str, object]) -> bool:
    """Tell whether the process that wrote a ready file is there."""
    pid = ready.get("pid")
    return isinstance(pid, int) and pid > 0 and not has_died(pid)


def read_ready(folder: Path) -> dict[str, object] | None:
    """Read the ready file of a state folder; None when there is none or it is damaged."""
    for place in (folder, folder / ANNOUNCED):
        with suppress(OSError, ValueError), (place / "agent.json").open("rb") as file:
            value = json.loads(file.read(_MAX_FILE_BYTES))
            return value if isinstance(value, dict) else None
    return None


def read_token(folder: Path) -> str:
    """Read the token that the agent made for the commands of its own user; empty when it made none."""
    try:
        with (folder / "token").open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _of_url(url: str, token: str | None) -> Place:
    known = _own_at(url) or _logged_in_at(url) or Place(url=url)
    if token is None:
        token = os.environ.get("AGENTD_TOKEN", "") or known.token
    return replace(known, url=url, token=token)


def _own_at(url: str) -> Place | None:
    """What the own folder's agent has left there, if the address is that agent's, on this device."""
    folder = state_folder()
    ready = read_ready(folder)
    if ready is None:
        return None
    own, asked = urlsplit(_as_url(ready.get("rest"))), urlsplit(url)
    if asked.hostname not in LOOPBACK and asked.hostname != own.hostname:
        return None
    if own.port is None or own.port != asked.port:
        return None
    return Place(url=url, token=read_token(folder), certificate=str(ready.get("certificate") or ""))


def _logged_in_at(url: str) -> Place | None:
    """What `agentd login` was given for that very address."""
    login = logins.known(url) if url.startswith("https://") else None
    return None if login is None else Place(url=url, token=login.token, certificate=login.certificate)


def _as_url(rest: object) -> str:
    if not isinstance(rest, str) or not rest:
        return ""
    return rest.rstrip("/") if "://" in rest else f"http://{rest}"


def _checked_url(text: str) -> str:
    """Refuse what is no base address of an agent.

    Raises:
        ConfigError: another scheme, no host, a bad port, or a path.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{text!r} is no address of an agent: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ConfigError(f"{text!r} is no address of an agent: give http(s)://host:port, host:port, or a folder")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{text!r} is no address of an agent: leave out what follows the port")
    if port == 0:
        raise ConfigError(f"{text!r} is no address of an agent: its port is 0")
    return f"{parts.scheme}://{parts.netloc}"
