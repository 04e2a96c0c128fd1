"""The state folder is ours alone or refused, and files are there whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from random import Random

import pytest

from agentd.model.errors import ConfigError, StateInUse
from agentd.store.ballast import Ballast
from agentd.store.disk import LocalDisk, open_state, read_file, write_file
from tests.unit.store.memory_disk import MemoryDisk


def _contract(disk, folder):
    """What every `Disk` does; the one in memory must do it as the real one does."""
    path, other = folder / "file", folder / "other"
    assert disk.size(path) == 0
    with pytest.raises(FileNotFoundError):
        disk.open(path)
    fd = disk.create(path)
    with pytest.raises(FileExistsError):
        disk.create(path)
    assert disk.write(fd, b"hello") == 5
    assert disk.write(fd, memoryview(b" you")) == 4
    disk.sync(fd)
    disk.close(fd)
    assert disk.size(path) == 9
    fd = disk.open(path)
    assert disk.read(fd, 5, 0) == b"hello"
    assert disk.read(fd, 50, 5) == b" you"
    assert disk.read(fd, 50, 9) == disk.read(fd, 50, 100) == b""
    disk.close(fd)
    disk.link(path, other)
    disk.rename(path, folder / "third")
    assert sorted(disk.names(folder)) == ["other", "third"]
    disk.unlink(other)
    disk.unlink(other)
    disk.sync_folder(folder)
    assert disk.names(folder) == ["third"]
    fd = disk.create(path)
    disk.allocate(fd, 1000)
    disk.close(fd)
    assert disk.size(path) == 1000
    assert disk.free_bytes(folder) > 0


def test_the_real_disk_keeps_the_contract(tmp_path):
    """The disk of this device does what `Disk` says."""
    _contract(LocalDisk(), tmp_path)


def test_the_disk_in_memory_keeps_the_contract():
    """The one that faults are tested on does the same."""
    disk = MemoryDisk()
    _contract(disk, disk.root)


def test_files_are_made_for_us_alone(tmp_path):
    """Whatever the umask, nobody else reads what the store writes."""
    before = os.umask(0)
    try:
        write_file(LocalDisk(), tmp_path / "file", b"x")
        folder = open_state(tmp_path / "deep" / "state")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "lock").stat().st_mode) == 0o600
    folder.close()


def test_a_file_is_written_whole_or_not_at_all():
    """Whenever the power goes while a file is replaced, the former or the new content is found."""
    disk = MemoryDisk()
    path = disk.root / "file"
    write_file(disk, path, b"former" * 200)
    written = len(disk.log)
    write_file(disk, path, b"new" * 700)
    chance = Random(5)
    seen = set()
    for steps in range(written, len(disk.log) + 1):
        for _ in range(40):
            found = read_file(disk.after_power_loss(steps, chance), path, limit=10_000)
            assert found in {b"former" * 200, b"new" * 700}
            seen.add(found)
            if steps == len(disk.log):
                assert found == b"new" * 700
    assert len(seen) == 2


@pytest.mark.parametrize("what", ["create", "write", "fsync", "rename", "fsync folder"])
def test_a_file_that_cannot_be_written_leaves_the_former(what):
    """Whichever step fails, the error is told; until the new file has its name the former content is there."""
    disk = MemoryDisk()
    path = disk.root / "file"
    write_file(disk, path, b"former")

    def fail(step, number):
        if step == what:
            raise OSError(errno.EIO, "I/O error")

    disk.fail = fail
    with pytest.raises(OSError, match="I/O"):
        write_file(disk, path, b"new")
    disk.fail = lambda step, number: None
    assert read_file(disk, path, limit=100) == (b"new" if what == "fsync folder" else b"former")


def test_short_writes_are_completed():
    """A disk that takes a few bytes at a time gets them all; one that takes none is full."""
    disk = MemoryDisk()
    disk.fail = lambda step, number: 3 if step == "write" else None
    write_file(disk, disk.root / "file", b"0123456789")
    assert read_file(disk, disk.root / "file", limit=100) == b"0123456789"
    disk.fail = lambda step, number: 0 if step == "write" else None
    with pytest.raises(OSError, match="takes nothing"):
        write_file(disk, disk.root / "file", b"x")


def test_reading_is_capped_and_follows_no_link(tmp_path):
    """A planted huge file or a link is an error that says what to do, not memory."""
    disk = LocalDisk()
    assert read_file(disk, tmp_path / "none", limit=10) is None
    (tmp_path / "big").write_bytes(b"x" * 11)
    with pytest.raises(ConfigError, match="larger than 10 bytes"):
        read_file(disk, tmp_path / "big", limit=10)
    (tmp_path / "link").symlink_to(tmp_path / "big")
    with pytest.raises(ConfigError, match="is a link"):
        read_file(disk, tmp_path / "link", limit=100)


def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path):
    """The lock is on the folder, tells who has it, and goes with its holder."""
    first = open_state(tmp_path / "state")
    with pytest.raises(StateInUse, match=rf"pid {os.getpid()}\b"):
        open_state(tmp_path / "state")
    first.close()
    first.close()
    open_state(tmp_path / "state").close()


def test_a_planted_folder_is_refused(tmp_path):
    """A link, a file, and a folder that others may write to are refused with what to do; nothing is made in them."""
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match="is a link"):
        open_state(tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="a file is in its way"):
        open_state(tmp_path / "file")
    with pytest.raises(ConfigError, match="a file is in its way"):
        open_state(tmp_path / "file" / "state")
    for mode in (0o770, 0o702):
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(mode)
        with pytest.raises(ConfigError, match="chmod 700"):
            open_state(tmp_path / "open")
        assert list((tmp_path / "open").iterdir()) == []
        (tmp_path / "open").rmdir()
    assert list((tmp_path / "target").iterdir()) == []


def test_a_planted_lock_is_refused(tmp_path):
    """A link or a folder in the place of the lock is refused, and what the link points at is not touched."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "precious").write_text("content")
    (tmp_path / "state" / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="not a plain file"):
        open_state(tmp_path / "state")
    assert (tmp_path / "precious").read_text() == "content"
    (tmp_path / "state" / "lock").unlink()
    (tmp_path / "state" / "lock").mkdir()
    with pytest.raises(ConfigError, match="not a plain file"):
        open_state(tmp_path / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    """Even root does not take over another user's folder."""
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(tmp_path / "state", 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        open_state(tmp_path / "state")


def test_a_readable_folder_is_closed_to_others(tmp_path):
    """A folder of ours that others may only read is taken and closed."""
    (tmp_path / "state").mkdir(mode=0o755)
    open_state(tmp_path / "state").close()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_folder_with_other_things_in_it_is_not_closed_to_others(tmp_path):
    """A folder that others read and that holds something of theirs, such as /tmp, is no state folder by mistake."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "of-others").write_text("content")
    with pytest.raises(ConfigError, match="other things in it"):
        open_state(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert [path.name for path in shared.iterdir()] == ["of-others"]


@pytest.mark.parametrize("name", ["agentd.toml", "agent-id", "lost+found"])
def test_a_folder_that_was_made_for_an_agent_is_closed_to_others(tmp_path, name):
    """Settings that were put there before the first start, an agent of before, an empty disk: none is a stranger's."""
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "state" / name).touch()
    open_state(tmp_path / "state").close()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_the_ballast_is_held_only_with_as_much_to_spare():
    """It is taken once, given up whole, and not taken again on a disk that is nearly full."""
    disk = MemoryDisk(capacity=1000)
    ballast = Ballast(disk, disk.root / "ballast", 400)
    assert ballast.take()
    assert ballast.take()
    assert disk.free_bytes(disk.root) == 600
    ballast.give_up()
    ballast.give_up()
    assert disk.free_bytes(disk.root) == 1000
    disk.capacity = 799
    assert not ballast.take()
    assert disk.names(disk.root) == []


def test_a_ballast_that_does_not_fit_leaves_nothing():
    """When the space goes while it is taken, that is no error and no half of a file."""
    disk = MemoryDisk(capacity=10_000)

    def fail(step, number):
        if step == "allocate":
            raise OSError(errno.ENOSPC, "no space")

    disk.fail = fail
    assert not Ballast(disk, disk.root / "ballast", 400).take()
    assert disk.names(disk.root) == []
