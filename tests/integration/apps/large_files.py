"""Tasks that write, change and read large files."""

import hashlib
import os
import shutil
import tempfile
import traceback
from pathlib import Path

from meeting import until

from agentd.api import FILE_IN, FILE_INOUT, FILE_OUT, task, wait_on, wait_on_file

BLOCK = bytes(range(256)) * 4096


@task(path=FILE_OUT)
def written(path, blocks):
    with Path(path).open("wb") as file:
        file.writelines(BLOCK for _ in range(blocks))


@task(path=FILE_INOUT)
def signed(path):
    with Path(path).open("r+b") as file:
        file.write(b"signed by a task")


@task(path=FILE_IN, returns=list)
def summed(path):
    with Path(path).open("rb") as file:
        return [os.environ["COMPSS_HOSTNAMES"], os.path.getsize(path), hashlib.file_digest(file, "sha1").hexdigest()]


def through(blocks):
    """Have a file written, changed and read by tasks, and bring it home."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "large")
        written(path, blocks)
        signed(path)
        found = wait_on(summed(path))
        wait_on_file(path)
        with Path(path).open("rb") as file:
            here = hashlib.file_digest(file, "sha1").hexdigest()
        return {"there": found, "here": here}


def given(blocks):
    """Have a file of our own changed and read by tasks; what we have is changed when we ask for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large"
        with path.open("wb") as file:
            for _ in range(blocks):
                file.write(BLOCK)
        before = summed(str(path))
        signed(str(path))
        after = summed(str(path))
        wait_on_file(str(path))
        return [wait_on(before)[2], wait_on(after)[2], path.read_bytes()[:16].decode()]


@task(path=FILE_IN, returns=list)
def looked_at(path, folder, name, count):
    """Tell which file it is, when all who read it are there; then try to write it."""
    Path(folder, name).touch()
    until(lambda: len(os.listdir(folder)) >= count)
    found = os.stat(path).st_ino
    try:
        with open(path, "r+b") as file:
            file.write(b"not to be seen by others")
    except PermissionError as error:
        return [found, "".join(getattr(error, "__notes__", ()))]
    return [found, ""]


@task(path=FILE_IN, returns=int)
def forced(path):
    """Write a file that it said to read only, and do not mind that it cannot."""
    with open(path, "r+b") as file:
        file.write(b"not to be seen by others")
    return 1


def readers(path, folder):
    """Have a file of the caller's read by two tasks at once that try to write it, and by one behind them."""
    before = Path(path).stat()
    rows = wait_on([looked_at(path, folder, name, 2) for name in "ab"])
    digest = wait_on(summed(path))[2]
    try:
        error = str(wait_on(forced(path)))
    except PermissionError as caught:
        error = "".join(traceback.format_exception(caught))
    digests = [digest, wait_on(summed(path))[2]]
    after = Path(path).stat()
    same = (before.st_mode, before.st_ino, before.st_mtime_ns) == (after.st_mode, after.st_ino, after.st_mtime_ns)
    return {"rows": rows, "digests": digests, "error": error, "same": same, "inode": after.st_ino}


def copied(path):
    """What a task writes anew from a large file that it reads is its own."""
    changed(path, path + ".copy")
    wait_on_file(path + ".copy")
    return Path(path + ".copy").read_bytes()[:4].decode()


@task(source=FILE_IN, target=FILE_OUT)
def changed(source, target):
    shutil.copyfile(source, target)
    with open(target, "r+b") as file:
        file.write(b"mine")


def left_by_the_dead(path):
    """Have a task with a large file killed together with its worker."""
    try:
        return wait_on(killed(path))
    except Exception as error:  # noqa: BLE001 - what it is, is told
        return type(error).__name__


@task(path=FILE_INOUT, returns=int, on_failure="FAIL")
def killed(path):
    os.kill(os.getpid(), 9)
