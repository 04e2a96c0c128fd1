"""Tasks that say where they ran: each is long enough for idle agents to be asked."""

import os
import time

from agentd.api import COLLECTION_IN, INOUT, Depth, Type, number_of_resources, task, wait_on


@task(returns=str)
def where(seconds):
    time.sleep(seconds)
    return os.environ["COMPSS_HOSTNAMES"]


@task(d=INOUT)
def noted(d, seconds):
    time.sleep(seconds)
    d[os.environ["COMPSS_HOSTNAMES"]] = d.get(os.environ["COMPSS_HOSTNAMES"], 0) + 1


@task(parts={Type: COLLECTION_IN, Depth: 1}, returns=dict)
def together(parts):
    found = {}
    for part in parts:
        for name, count in part.items():
            found[name] = found.get(name, 0) + count
    return found


@task(returns=dict)
def spread(count, seconds):
    """Call tasks side by side, change objects by them, and add up on any agent what they say."""
    dicts = [{} for _ in range(count)]
    for one in dicts:
        noted(one, seconds)
    names = [where(seconds) for _ in range(count)]
    return {"changed": wait_on(together(dicts)), "returned": sorted(set(wait_on(names)))}


def resources():
    """Give how many agents can take tasks."""
    return number_of_resources()
