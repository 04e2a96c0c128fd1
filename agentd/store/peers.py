"""The book of the agents that are trusted, as one file of the state folder.

A file that is replaced as a whole, not the journal: it is needed before the journal is read, it changes a few times in
a device's life, and a damaged or discarded journal must neither forget a revocation nor bring a trust back.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from agentd.model.errors import ConfigError, RequestError
from agentd.model.peers import PinBook, check_limits
from agentd.model.unreadable import UNREADABLE
from agentd.store.disk import Disk, read_file, write_file

FILE_NAME = "peers.json"
_MOST_BYTES = 16 << 20
"""Largest book that is read (chosen: above as many peers as there may be, each with all that it may have)."""
_VERSION = 1


class _File(Struct, frozen=True, omit_defaults=False):
    version: int = _VERSION
    book: PinBook = PinBook()


_reader = msgspec.json.Decoder(_File)


def read_peers(disk: Disk, folder: Path) -> PinBook:
    """Give the book; an empty one before the first pairing.

    Raises:
        ConfigError: the file is damaged, or of a later version: nobody is trusted by guess.
        OSError: the disk failed.
    """
    path = folder / FILE_NAME
    found = read_file(disk, path, limit=_MOST_BYTES)
    if found is None:
        return PinBook()
    try:
        file = _reader.decode(found)
        for peer in file.book.peers:
            check_limits(peer.limits)
    except (*UNREADABLE, RequestError) as error:
        raise ConfigError(
            f"{path}: {error}; put the former content back, or move it away and pair the devices anew"
        ) from error
    if file.version != _VERSION:
        raise ConfigError(f"{path} is of version {file.version}, and only {_VERSION} is understood here")
    return file.book


def write_peers(disk: Disk, folder: Path, book: PinBook) -> None:
    """Put the book in the place of the last one; when this returns, it survives power loss.

    Raises:
        OSError: it was not done; the last one holds.
    """
    encoded = msgspec.json.format(msgspec.json.encode(_File(book=book)), indent=1)
    write_file(disk, folder / FILE_NAME, encoded + b"\n")
