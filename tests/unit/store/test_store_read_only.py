"""A state folder on a file system that has become read-only, as after a fault of the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agentd.model.errors import ConfigError
from agentd.store.disk import LOCK_NAME, open_state

_open = os.open


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be opened for writing, and no mode be changed."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def opened(path: object, flags: int, *mode: int, **more: int) -> int:
        return refused() if flags & os.O_RDWR else _open(path, flags, *mode, **more)  # type: ignore[func-returns-value,arg-type]

    monkeypatch.setattr(os, "fchmod", refused)
    monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize("mode", [0o700, 0o750])
@pytest.mark.usefixtures("read_only")
def test_a_folder_that_can_only_be_read_is_told(tmp_path: Path, mode: int) -> None:
    """With what to do, whether its mode is as it should be or not."""
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    (folder / LOCK_NAME).touch()
    with pytest.raises(ConfigError, match=r"can only be read: mount it for writing .* another --state"):
        open_state(folder)


def test_a_mode_that_is_as_it_should_be_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where modes cannot be changed, that is no reason not to start."""
    monkeypatch.setattr(os, "fchmod", None)
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    open_state(folder).close()
