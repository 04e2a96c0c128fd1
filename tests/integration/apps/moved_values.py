"""Tasks that make large values, and say where they and those that read them ran."""

import os
from pathlib import Path

from meeting import until

from agentd.api import barrier, task, wait_on


def here():
    return os.environ["COMPSS_HOSTNAMES"]


@task(returns=1)
def made(size):
    return bytearray(size)


@task(returns=1)
def grown(value):
    value = bytearray(value)
    value[0] += 1
    return value


@task(returns=tuple)
def looked_at(value):
    return here(), len(value), value[0]


@task(returns=1, is_distributed=True)
def made_in_turn(size, first):
    value = bytearray(size)
    value[0] = first
    return value


@task(returns=tuple, is_distributed=True)
def looked_at_in_turn(value):
    return here(), len(value), value[0]


@task(returns=1, is_distributed=True)
def grown_in_turn(value):
    value = bytearray(value)
    value[0] += 1
    return value


def used_where_made(size, steps):
    """Let a value be made, changed and looked at, and have nothing but what was seen."""
    value = made(size)
    for _ in range(steps):
        value = grown(value)
    return list(wait_on(looked_at(value)))


def used_next_door(size, hosts):
    """Have each host make a value, and the one after it look at it."""
    values = [made_in_turn(size, number) for number in range(hosts)]
    barrier()
    seen = [looked_at_in_turn(value) for value in [*values[1:], values[0]]]
    return [list(one) for one in wait_on(seen)]


def lost_on_the_way(size, path, hosts):
    """Have each host make a value and change it, wait for a word from outside, then ask for all that was made."""
    values = [made_in_turn(size, number) for number in range(hosts)]
    barrier()  # all hosts are free again: each value is changed where it was made
    values = [grown_in_turn(value) for value in values]
    barrier()
    Path(path + ".ready").touch()
    until(Path(path + ".go").exists)
    return [[len(value), value[0]] for value in wait_on(values)]


def left_with_each(size, path, hosts):
    """Have each host make a value and keep it; wait for a word from outside, then ask for all of them."""
    values = [made_in_turn(size, number) for number in range(hosts)]
    barrier()
    Path(path + ".ready").touch()
    until(Path(path + ".go").exists)
    return [[len(value), value[0]] for value in wait_on(values)]
