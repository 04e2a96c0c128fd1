"""The token book: what it keeps, what it refuses, and what it notices."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from agentd.daemon.trust.tokens import BOOK, OWNER, OWNER_FILE, TokenBook, check_folder
from agentd.model.errors import ConfigError


@pytest.fixture
def folder(tmp_path) -> Path:
    """A state folder as the daemon makes it."""
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


def test_a_token_is_known_by_its_name_and_scope(folder):
    """What was shown once opens what it was made for; anything else opens nothing."""
    book = TokenBook(folder)
    token = book.add("alice", "submit")
    assert token.startswith("agentd_")
    assert len(token) > 40
    assert book.identify(token) == ("alice", "submit")
    for wrong in ("", token[:-1], token + "x", token.upper(), "agentd_", "\udcff"):
        assert book.identify(wrong) is None


def test_no_file_has_a_token_but_the_owners(folder):
    """The book keeps hashes, which differ between agents, and every file is closed to others."""
    book = TokenBook(folder)
    book.ensure_owner()
    token = book.add("alice", "read")
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert token not in path.read_text()
    owners = (folder / OWNER_FILE).read_text().strip()
    assert owners not in (folder / BOOK).read_text()
    assert {path.name for path in folder.iterdir()} == {BOOK, OWNER_FILE, "tokens.lock"}


def test_listing_and_showing_give_no_secret(folder):
    """Names, scopes and times, in the order in which they were made."""
    book = TokenBook(folder, wall=lambda: 5.0)
    token = book.add("alice", "read")
    book.add("bob", "admin")
    assert [(entry.name, entry.scope, entry.created_at) for entry in book.entries()] == [
        ("alice", "read", 5.0),
        ("bob", "admin", 5.0),
    ]
    assert token not in repr(book.show("alice"))


def test_revoking_ends_a_token(folder):
    """A revoked token opens nothing, and the others still do."""
    book = TokenBook(folder)
    alice, bob = book.add("alice", "read"), book.add("bob", "read")
    book.revoke("alice")
    assert book.identify(alice) is None
    assert book.identify(bob) == ("bob", "read")
    assert book.add("alice", "read") != alice


def test_a_running_daemon_notices_at_once(folder):
    """What a command changes, another process sees with the next token it is shown; who wants to know is told."""
    daemon, command, changes = TokenBook(folder), TokenBook(folder), []
    daemon.on_changed = lambda: changes.append(True)
    assert daemon.identify("x") is None
    token = command.add("alice", "read")
    command.add("bob", "read")
    assert [daemon.identify(token), daemon.identify(token)] == [("alice", "read")] * 2
    before = len(changes)
    command.revoke("alice")
    assert [daemon.identify(token), daemon.identify(token)] == [None, None]
    assert len(changes) == before + 1


def test_the_owner_has_a_token_from_the_first_start(folder):
    """It is made once, found by the commands, and is for everything."""
    book = TokenBook(folder)
    token = book.ensure_owner()
    assert book.ensure_owner() == TokenBook(folder).ensure_owner() == token
    assert (folder / OWNER_FILE).read_text().strip() == token
    assert book.identify(token) == (OWNER, "admin")
    assert stat.S_IMODE((folder / OWNER_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "harm",
    [
        lambda f: (f / OWNER_FILE).unlink(),
        lambda f: (f / OWNER_FILE).write_text("wrong"),
        lambda f: (f / BOOK).unlink(),
    ],
)
def test_a_lost_owner_token_is_made_anew(folder, harm):
    """Whatever of the two files is lost, the next start has a pair that fits; the old one opens nothing."""
    old = TokenBook(folder).ensure_owner()
    harm(folder)
    book = TokenBook(folder)
    new = book.ensure_owner()
    assert new != old
    assert book.identify(new) == (OWNER, "admin")
    assert book.identify(old) is None
    assert len(book.entries()) == 1


def test_two_commands_at_once_lose_nothing(folder):
    """Each waits for the other."""
    threads = [threading.Thread(target=TokenBook(folder).add, args=(f"t{n}", "read")) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.name for entry in TokenBook(folder).entries()} == {f"t{n}" for n in range(20)}


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "x" * 65, "a\n", "\x1b[31m", "ü"])
def test_a_name_is_plain(folder, name):
    """Names come to terminals and logs."""
    with pytest.raises(ConfigError, match="name"):
        TokenBook(folder).add(name, "read")


@pytest.mark.parametrize("scope", ["", "none", "peer", "root", "Admin"])
def test_a_scope_exists(folder, scope):
    """Only the scopes of this door."""
    with pytest.raises(ConfigError, match="scope"):
        TokenBook(folder).add("alice", scope)


def test_a_name_is_taken_once_and_revoked_once(folder):
    """Doing it twice is a mistake that is told."""
    book = TokenBook(folder)
    book.add("alice", "read")
    with pytest.raises(ConfigError, match="already"):
        book.add("alice", "admin")
    book.revoke("alice")
    for act in (book.revoke, book.show):
        with pytest.raises(ConfigError, match="no token 'alice'"):
            act("alice")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"salt": 5}',
        '{"salt":"","version":2}',
        '{"salt":"","tokens":[{"name":"a","scope":"root","hash":"","created_at":0}]}',
    ],
)
def test_a_damaged_book_opens_nothing_and_says_so(folder, text):
    """The commands name the file; the daemon goes on without tokens, tells why, and recovers."""
    book = TokenBook(folder)
    token = book.add("alice", "read")
    good = (folder / BOOK).read_bytes()
    assert book.identify(token)
    (folder / BOOK).write_text(text)
    assert book.identify(token) is None
    assert BOOK in book.fault
    with pytest.raises(ConfigError, match=BOOK):
        book.entries()
    (folder / BOOK).write_bytes(good)
    assert book.identify(token) == ("alice", "read")
    assert book.fault == ""


def test_a_book_that_is_too_large_is_not_read(folder):
    """Reading has a cap."""
    TokenBook(folder).add("alice", "read")
    with (folder / BOOK).open("ab") as file:
        file.write(b" " * (1 << 20))
    with pytest.raises(ConfigError, match="larger"):
        TokenBook(folder).entries()


class TestUnsafe:
    """Planted links and open doors."""

    def test_a_link_is_not_followed(self, folder, tmp_path):
        """Neither for reading nor for writing."""
        target = tmp_path / "elsewhere"
        target.write_text("{}")
        target.chmod(0o600)
        for name in (BOOK, OWNER_FILE, "tokens.lock"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(target)
            with pytest.raises(ConfigError):
                TokenBook(folder).ensure_owner()
            (folder / name).unlink()
        assert target.read_text() == "{}"

    def test_a_file_that_others_may_read_is_refused(self, folder):
        """A token that others may have read is none; the message says how to mend it."""
        TokenBook(folder).ensure_owner()
        (folder / OWNER_FILE).chmod(0o644)
        with pytest.raises(ConfigError, match="chmod 600"):
            TokenBook(folder).ensure_owner()

    def test_a_pipe_does_not_block(self, folder):
        """What is no plain file is refused, not waited for."""
        os.mkfifo(folder / BOOK, 0o600)
        with pytest.raises(ConfigError, match="plain file"):
            TokenBook(folder).entries()

    def test_a_folder_that_others_may_write_is_refused(self, folder):
        """Who may write into it could put a book of their own there."""
        folder.chmod(0o770)
        with pytest.raises(ConfigError, match="chmod 700"):
            TokenBook(folder).add("alice", "read")

    def test_a_folder_is_one_and_ours(self, folder, tmp_path):
        """No link, no file, and not another user's."""
        link = tmp_path / "link"
        link.symlink_to(folder)
        for path in (link, tmp_path / "missing", Path("/dev/null")):
            with pytest.raises(ConfigError):
                check_folder(path)
        if os.geteuid() != 0:
            with pytest.raises(ConfigError, match="another user"):
                check_folder(Path("/"))


def test_a_crash_while_writing_leaves_the_old_book(folder, monkeypatch):
    """The new book takes the place of the old one at once or not at all, and no draft is left."""
    book = TokenBook(folder)
    token = book.add("alice", "read")

    def broken(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(ConfigError, match="No space left"):
        book.add("bob", "read")
    monkeypatch.undo()
    assert TokenBook(folder).identify(token) == ("alice", "read")
    assert {path.name for path in folder.iterdir()} == {BOOK, "tokens.lock"}
