"""Files with secrets: ours alone, never through a link, and either what was there before or what was written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentd.api.private_files import CAP_BYTES, read_private, replace_private
from agentd.model.errors import ConfigError


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """What is read is what was written last; the file is this user's alone, and no draft stays."""
    path = tmp_path / "secret"
    assert read_private(path) is None
    for data in (b"long one", b"short"):
        replace_private(path, data)
        assert read_private(path) == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["secret"]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails at the last moment costs neither the old content nor leaves a draft."""
    path = tmp_path / "secret"
    replace_private(path, b"old")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        replace_private(path, b"new")
    assert read_private(path) == b"old"
    assert os.listdir(tmp_path) == ["secret"]


def test_what_is_not_safe_is_not_read(tmp_path: Path) -> None:
    """Links, files that others may read, folders, pipes and endless files are refused, saying what is wrong."""
    path = tmp_path / "secret"
    replace_private(path, b"secret")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "endless").touch(0o600)
    os.truncate(tmp_path / "endless", CAP_BYTES + 1)
    for name, words in (("link", "cannot be used"), ("folder", "plain"), ("pipe", "plain"), ("endless", "larger")):
        with pytest.raises(ConfigError, match=words):
            read_private(tmp_path / name)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_private(path)


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    """Whoever plants a link gains nothing: what it points at is left alone."""
    (tmp_path / "victim").write_bytes(b"kept")
    (tmp_path / "secret").symlink_to(tmp_path / "victim")
    replace_private(tmp_path / "secret", b"new")
    assert (tmp_path / "victim").read_bytes() == b"kept"
    assert read_private(tmp_path / "secret") == b"new"
