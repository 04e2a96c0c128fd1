"""Tasks that print, on the agent that runs them."""

import os
import sys
import time

from pycompss.api.api import compss_wait_on
from pycompss.api.constraint import constraint
from pycompss.api.task import task


@task(returns=int)
def inner(number):
    print("inner", number)
    return number + 1


@constraint(computing_units=2)
@task(returns=int)
def outer(number):
    print("outer", number)
    print("trouble", number, file=sys.stderr)
    return compss_wait_on(inner(number))


@task(returns=int)
def count(number):
    below = compss_wait_on(count(number - 1)) if number > 1 else number
    print("value:", below)
    return below + 1


@constraint(computing_units=2)
@task(returns=int)
def say(number):
    print("said", number)
    print("cried", number, file=sys.stderr)
    return number


def chatter(number):
    return len(compss_wait_on([say(each) for each in range(number)]))


def talk(number):
    print("talk begins")
    found = compss_wait_on([outer(each) for each in range(number)])
    print("talk ends with", found)
    return found


def main(number):
    print("main got", compss_wait_on(count(int(number))))


if __name__ == "__main__":
    print("here", compss_wait_on(count(2)))


def twice(path):
    """Say that it began, and end when it may."""
    print("began", flush=True)
    while not os.path.exists(path):
        time.sleep(0.01)
    print("ended")
