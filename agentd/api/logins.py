"""What this person's programs know of agents on other devices: certificate and token of each, in one file of theirs.

Law: a token goes to the address that it was given for, over TLS with the certificate that was pinned, and nowhere else.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from agentd.api.private_files import read_private, replace_private
from agentd.model.errors import ConfigError
from agentd.model.unreadable import UNREADABLE

FILE_NAME = "logins.json"


class Login(Struct, frozen=True, kw_only=True):
    """One agent, and who we are to it."""

    url: str
    """`https://host:port`."""
    agent: str
    """Its name."""
    user: str
    scope: str
    certificate: str
    """PEM."""
    token: str

    def __repr__(self) -> str:
        """Show it without the token."""
        return f"<Login {self.user} at {self.agent} {self.url}>"


class _File(Struct, frozen=True):
    version: int = 1
    logins: tuple[Login, ...] = ()


def config_folder() -> Path:
    """Give the folder of this person's settings: `$AGENTD_CONFIG`, else `$XDG_CONFIG_HOME/agentd`, else `~/.config`'s.

    As the XDG base directory specification has it.
    """
    named = os.environ.get("AGENTD_CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".config") / "agentd"


def known(url: str) -> Login | None:
    """Give the login for an agent's address; None when there is none.

    Raises:
        ConfigError: the file is not safe to use, or damaged.
    """
    return next((login for login in logins() if login.url == url), None)


def logins() -> tuple[Login, ...]:
    """List all logins.

    Raises:
        ConfigError: the file is not safe to use, or damaged.
    """
    path = config_folder() / FILE_NAME
    data = read_private(path)
    if data is None:
        return ()
    try:
        return msgspec.json.decode(data, type=_File).logins
    except UNREADABLE as error:
        raise ConfigError(f"{path}: {error}; remove it and log in again") from error


def remember(login: Login) -> None:
    """Put a login in the place of the last one for the same address; it is on the disk when this returns.

    Raises:
        ConfigError: the file cannot be written.
    """
    _write((*(each for each in logins() if each.url != login.url), login))


def forget(url: str) -> None:
    """Drop the login for an address.

    Raises:
        ConfigError: there is none, or the file cannot be written.
    """
    left = tuple(each for each in logins() if each.url != url)
    if len(left) == len(logins()):
        raise ConfigError(f"there is no login for {url}")
    _write(left)


def _write(kept: tuple[Login, ...]) -> None:
    path = config_folder() / FILE_NAME
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    replace_private(path, msgspec.json.format(msgspec.json.encode(_File(logins=kept))) + b"\n")
