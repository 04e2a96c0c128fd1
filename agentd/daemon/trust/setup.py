"""What an agent starts with to know whom to trust: its key, its book, and who looks after both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.comm.trust.security import Security
from agentd.daemon.derived import comm_settings
from agentd.daemon.trust.identity import ensure_identity
from agentd.daemon.trust.pairing import Pairing
from agentd.model.addresses import is_loopback
from agentd.model.errors import ConfigError
from agentd.store.disk import LocalDisk
from agentd.store.identity import read_identity
from agentd.store.peers import read_peers

if TYPE_CHECKING:
    from pathlib import Path

    from agentd.daemon.clock import Clock
    from agentd.daemon.settings import Settings
    from agentd.daemon.trust.tokens import TokenBook
    from agentd.model.peers import PinBook
    from agentd.store.disk import Disk
    from agentd.store.identity import KeyFile


async def own_key(disk: Disk, folder: Path, settings: Settings, warnings: list[str]) -> KeyFile | None:
    """Give the identity of this device, or a warning that there is none, which is an error where TLS is asked for.

    Raises:
        ConfigError: the settings ask for TLS.
    """
    try:
        return await ensure_identity(disk, folder, settings.hostname)
    except ConfigError as error:
        if settings.rest_tls or not (settings.insecure or is_loopback(settings.comm_host)):
            raise
        warnings.append(f"no TLS, and no pairing with other devices: {error}")
        return None


def identity_of(folder: Path) -> KeyFile | None:
    """Read the identity of a state folder, for who looks from outside; None before the first start.

    Raises:
        ConfigError: the file holds something else.
        OSError: the disk failed.
    """
    return read_identity(LocalDisk(), folder)


def known_to(folder: Path) -> PinBook:
    """Read the book of a state folder, for who looks from outside.

    Raises:
        ConfigError: it cannot be read.
        OSError: the disk failed.
    """
    return read_peers(LocalDisk(), folder)


def pairing_of(
    key: KeyFile | None, disk: Disk, folder: Path, settings: Settings, tokens: TokenBook, clock: Clock
) -> Pairing:
    """Read the book of those who are trusted, and give who looks after it.

    Raises:
        ConfigError: the book cannot be read.
    """
    path = key.path if key is not None else None
    return Pairing(
        disk=disk,
        folder=folder,
        identity=key,
        security=Security(path, read_peers(disk, folder), insecure=settings.insecure),
        tokens=tokens,
        clock=clock,
        settings=comm_settings(settings),
    )
