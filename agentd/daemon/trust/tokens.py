"""The token book: who may ask what of the REST door, in a file of the state folder.

Law: a token is in no file but the one that its owner keeps. The book has its hash: sha256 over a salt of the file and
the token. A token is 32 random bytes: there is nothing to guess, and a slow hash would protect nothing. The salt keeps
the books of two agents from being compared.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agentd.api.private_files import open_private, read_private, replace_private
from agentd.model.errors import ConfigError
from agentd.model.unreadable import UNREADABLE
from agentd.model.users import OWNER
from agentd.rest.port import SCOPES

PREFIX = "agentd_"
"""Lets secret scanners, and people, see what it is."""

FIRST = "first"
"""Of the token that is made at the first start of an agent that nobody reaches locally."""

BOOK = "tokens.json"
OWNER_FILE = "token"
LOCK = "tokens.lock"
MOST = 1000
"""Tokens of one agent. Chosen: each is compared on every request."""

NAME_RULE = "1 to 64 letters, digits, and . _ - @, beginning with a letter or a digit"


class Entry(Struct, frozen=True, kw_only=True):
    """What may be shown of a token, and its hash."""

    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")]
    scope: str
    hash: str
    created_at: float
    """Seconds since 1970, for people."""


class Book(Struct, frozen=True, kw_only=True):
    """The file."""

    version: int = 1
    salt: str
    tokens: list[Entry] = []


_reader = msgspec.json.Decoder(Book)


class TokenBook:
    """The tokens of one agent. Daemon and commands write it, each under a lock, so that both may at any time.

    Owns `tokens.json`, `tokens.lock` and `token` in the state folder, all 0600.

    Attributes:
        on_changed: told when a token is asked for and the book is another one than before.
        fault: why the book cannot be read, for the operator; empty when it can. Until then no token is known.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._path = str(folder / BOOK)
        self._wall = wall
        self._book = Book(salt="")
        self._hashes: list[tuple[bytes, Entry]] = []
        self._mark: tuple[int, int, int] | None = None
        self.on_changed: Callable[[], object] = lambda: None
        self.fault = ""

    # --- what the daemon asks -----------------------------------------------------------------------------------

    def identify(self, token: str) -> tuple[str, str] | None:
        """Give the name and the scope of a token, or None. Every entry is compared, each in constant time."""
        self._refresh()
        hashed = _hash(self._book.salt, token)
        found = None
        for known, entry in self._hashes:
            if hmac.compare_digest(known, hashed):
                found = entry
        return None if found is None else (found.name, found.scope)

    # --- what the commands ask ----------------------------------------------------------------------------------

    def add(self, name: str, scope: str) -> str:
        """Make a token and give it, this once.

        Raises:
            ConfigError: the name is taken or none, the scope does not exist, or the book is full.
        """
        _check(name, scope)
        with self._writing() as book:
            if any(entry.name == name for entry in book.tokens):
                raise ConfigError(f"there is a token {name!r} already: revoke it, or take another name")
            if len(book.tokens) >= MOST:
                raise ConfigError(f"there are {MOST} tokens, which is the most: revoke some")
            token, entry = self._made(book, name, scope)
            self._write(book, [*book.tokens, entry])
        return token

    def check_free(self, name: str) -> None:
        """Insist that a token of this name could be made.

        Raises:
            ConfigError: the name is taken or none.
        """
        _check(name, SCOPES[1])
        if any(entry.name == name for entry in self._read().tokens):
            raise ConfigError(f"there is a token {name!r} already: revoke it, or take another name")

    def revoke(self, name: str) -> None:
        """Make a token worthless, also for a running daemon.

        Raises:
            ConfigError: there is no such token.
        """
        with self._writing() as book:
            left = [entry for entry in book.tokens if entry.name != name]
            if len(left) == len(book.tokens):
                raise ConfigError(f"there is no token {name!r}: `agentd token list` shows them")
            self._write(book, left)

    def entries(self) -> list[Entry]:
        """List what may be shown of all tokens, oldest first."""
        return list(self._read().tokens)

    def show(self, name: str) -> Entry:
        """Give what may be shown of one token; the token itself is known to its owner alone.

        Raises:
            ConfigError: there is no such token.
        """
        for entry in self._read().tokens:
            if entry.name == name:
                return entry
        raise ConfigError(f"there is no token {name!r}: `agentd token list` shows them")

    def ensure_owner(self) -> str:
        """Give the token of the agent's own user, made at the first start and whenever its file is lost or wrong.

        Raises:
            ConfigError: the folder or a file in it is not safe to use.
        """
        with self._writing() as book:
            token = self._owner_token()
            known = {entry.name: entry.hash for entry in book.tokens}.get(OWNER)
            if token and known and hmac.compare_digest(known, _hash(book.salt, token).hex()):
                return token
            token, entry = self._made(book, OWNER, "admin")
            # The book first: a token file that no book knows would be repaired at the next start only.
            self._write(book, [*(other for other in book.tokens if other.name != OWNER), entry])
            replace_private(self._folder / OWNER_FILE, (token + "\n").encode())
        return token

    def ensure_first(self) -> str:
        """Give a token for everything if there is no book yet, which makes this the first start; else nothing.

        To be called before anything else makes a book.

        Raises:
            ConfigError: the folder is not safe to use.
        """
        is_first = not (self._folder / BOOK).exists()
        return self.add(FIRST, "admin") if is_first else ""

    # --- the file -----------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Read the book again if it has changed: to look at that costs little against what is asked (1 µs)."""
        mark = _mark(self._path)
        if mark != self._mark:
            is_first, self._mark = self._mark is None, mark
            try:
                self._book, self.fault = self._read(), ""
            except ConfigError as error:
                self._book, self.fault = Book(salt=""), str(error)
            self._hashes = [(bytes.fromhex(entry.hash), entry) for entry in self._book.tokens]
            if not is_first:
                self.on_changed()

    def _read(self) -> Book:
        check_folder(self._folder)
        data = read_private(self._folder / BOOK)
        if data is None:
            return Book(salt="")
        try:
            book = _reader.decode(data)
        except UNREADABLE as error:
            raise ConfigError(f"{self._folder / BOOK}: {error}; move it away to begin with a new one") from error
        if book.version != 1:
            raise ConfigError(f"{self._folder / BOOK} is of version {book.version}, and only 1 is understood here")
        for entry in book.tokens:
            if entry.scope not in SCOPES or not _is_hash(entry.hash):
                raise ConfigError(f"{self._folder / BOOK}: token {entry.name!r} is damaged; revoke it by hand")
        return book

    @contextmanager
    def _writing(self) -> Iterator[Book]:
        """Hold the lock that makes two commands wait for each other, and give the book as it is now."""
        check_folder(self._folder)
        descriptor = open_private(self._folder / LOCK, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            book = self._read()
            yield book if book.salt else Book(salt=secrets.token_hex(16))
        finally:
            os.close(descriptor)

    def _made(self, book: Book, name: str, scope: str) -> tuple[str, Entry]:
        token = PREFIX + secrets.token_urlsafe(32)
        hashed = _hash(book.salt, token).hex()
        return token, Entry(name=name, scope=scope, hash=hashed, created_at=self._wall())

    def _write(self, book: Book, tokens: list[Entry]) -> None:
        changed = Book(salt=book.salt, tokens=tokens)
        replace_private(self._folder / BOOK, msgspec.json.format(msgspec.json.encode(changed)) + b"\n")

    def _owner_token(self) -> str:
        data = read_private(self._folder / OWNER_FILE)
        return "" if data is None else data.decode("ascii", "replace").strip()


def check_folder(folder: Path) -> None:
    """Insist that a folder is ours alone to write, and no link.

    Raises:
        ConfigError: it is missing, a link, another user's, or others may write into it.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError as error:
        words = f"there is no state folder {folder}: `agentd start` makes it, or name another with --state"
        raise ConfigError(words) from error
    except OSError as error:
        raise ConfigError(f"the state folder {folder} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"the state folder {folder} is no folder, or a link to one: name the folder itself")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"the state folder {folder} belongs to another user: choose another with --state")
    if found.st_mode & 0o022:
        raise ConfigError(f"others may write into the state folder {folder}: chmod 700 {folder}")


def _check(name: str, scope: str) -> None:
    if scope not in SCOPES[1:]:
        raise ConfigError(f"scope {scope!r} is none of {', '.join(SCOPES[1:])}")
    try:
        msgspec.convert({"name": name, "scope": scope, "hash": "", "created_at": 0.0}, Entry)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name!r} is no name for a token: it has {NAME_RULE}") from error


def _hash(salt: str, token: str) -> bytes:
    return hashlib.sha256(salt.encode() + token.encode("utf-8", "surrogatepass")).digest()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def _mark(path: str) -> tuple[int, int, int] | None:
    """Tell one state of a file from another: it is only ever replaced, so it has another inode then."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
