"""Tasks over objects that live in a store."""

import os

from pycompss.api.api import compss_wait_on
from pycompss.api.parameter import INOUT
from pycompss.api.task import task
from storage.api import Kept


@task(kept=INOUT)
def add(kept, value):
    kept.value += value
    kept.write()


@task(returns=list)
def look(kept):
    return [kept.value, os.getpid(), kept.getID()]


@task(returns=Kept)
def made(value, folder):
    kept = Kept(value)
    kept.makePersistent(folder)
    return kept


def keep(folder):
    kept = Kept(1)
    kept.makePersistent(folder)
    add(kept, 10)
    add(kept, 100)
    value, where, identifier = compss_wait_on(look(kept))
    other = made(5, folder)
    add(other, 2)
    return [value, where != os.getpid(), identifier == kept.getID(), compss_wait_on(look(other))[0]]


if __name__ == "__main__":
    import sys

    print(*keep(sys.argv[1]))
