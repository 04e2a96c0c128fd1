"""A program whose tasks are an agent's, and what it does with large values, or at its end."""

import os
import signal
import sys
import threading
import time

import numpy as np

from agentd.api import INOUT, attach, connect, task, wait_on

LARGE = 3_000_000
"""Numbers: 24 MB."""


@task(returns=1)
def made(count):
    return np.ones(count), [count]


@task(returns=1)
def total(array):
    return float(array.sum())


@task(x=INOUT)
def increased(x):
    x += 1


@task(returns=1)
def long(path):
    open(path, "w").close()
    time.sleep(600)


def values(state):
    """Large values both ways, changed in the program and by tasks; more of them than a process may open files."""
    with attach(state) as session:
        mine = np.arange(LARGE, dtype=float)
        print(wait_on(total(mine)) == mine.sum())
        theirs, count = wait_on(made(LARGE))
        theirs[0] = 7
        increased(theirs)
        again = wait_on(theirs)
        print(again[0], again[1], theirs.flags.writeable, count)
        read_only = wait_on(made(LARGE), mode="r")[0]
        print(read_only.sum() == LARGE, read_only.flags.writeable)
        many = wait_on([made(60_000 + number) for number in range(300)])
        print(
            all(len(array) == 60_000 + number for number, (array, _) in enumerate(many)),
            len(os.listdir("/proc/self/fd")) < 64,
        )
    print(again[2], theirs[0])
    with connect(state) as agent:
        view = agent.get(session.operation)
        print(view.function, view.state, view.tasks.done)


def ends(state, path):
    """End in the middle of a wait, without a word."""
    session = attach(state)
    print(session.operation, flush=True)
    long(path)
    later = long(path)
    while not os.path.exists(path):
        time.sleep(0.01)
    # A handler would run in the thread that waits, which a signal that came to another one does not wake.
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
    wait_on(later)


if __name__ == "__main__":
    if sys.argv[1] == "values":
        values(sys.argv[2])
    else:
        ends(*sys.argv[2:])
