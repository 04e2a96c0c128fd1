"""A program whose tasks are an agent's: their files, and what they print, are the program's."""

import os
import re
import sys
import tempfile
from pathlib import Path

import large_files
from meeting import until

from agentd.api import DIRECTORY_INOUT, attach, barrier, task, wait_on, wait_on_directory, wait_on_file


@task(folder=DIRECTORY_INOUT)
def add_to(folder):
    Path(folder, "added").write_bytes(large_files.BLOCK * 2)


@task(returns=int)
def say(word, loudly=False):
    print(f"said {word}", flush=True)
    if loudly:
        print(f"shouted {word}", file=sys.stderr)
    return 1


@task()
def meet(folder, name, count):
    """Say where this is, when all are there."""
    Path(folder, name).touch()
    until(lambda: len(os.listdir(folder)) >= count)
    print(name, os.environ["COMPSS_HOSTNAMES"])


def peak_mib():
    """Give the most memory that this process ever had."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024


def files(state, blocks):
    """Have files of ours written, changed and read by tasks; says what came of each, and how much memory that took."""
    with tempfile.TemporaryDirectory() as folder, attach(state):
        path = Path(folder) / "file"
        with path.open("wb") as file:
            file.writelines(large_files.BLOCK for _ in range(blocks))
        large_files.signed(str(path))
        print(wait_on(large_files.summed(str(path)))[2])
        wait_on_file(str(path))
        print(path.read_bytes()[:16].decode() if blocks < 9 else path.open("rb").read(16).decode(), path.stat().st_size)
        below = Path(folder) / "below"
        below.mkdir()
        (below / "mine").write_bytes(large_files.BLOCK * 2)
        add_to(str(below))
        wait_on_directory(str(below))
        print(sorted((one.name, one.stat().st_size) for one in below.iterdir()))
    print(peak_mib())


def prints(state):
    """Show what tasks print: of those waited for before what comes next, of the others at the end."""
    with attach(state):
        say("first")
        barrier()
        print("between")
        say("second", loudly=True)
    print("end")
    with attach(state, prints=False):
        wait_on(say("nothing"))


if __name__ == "__main__":
    if sys.argv[1] == "files":
        files(sys.argv[2], int(sys.argv[3]))
    else:
        prints(sys.argv[2])
