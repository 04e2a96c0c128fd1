"""Tasks that write, change and read large files."""

import hashlib
import os
import tempfile
from pathlib import Path

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
