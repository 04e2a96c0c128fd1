"""A whole program with tasks of its own: run as `__main__`."""

import os
import sys

from agentd import api
from tests.fakes.marked import INOUT, marked


class Account:
    """A class of the program itself."""

    def __init__(self, balance):
        self.balance = balance

    @marked(self=INOUT)
    def pay_in(self, amount):
        self.balance += amount


@marked(returns=1)
def opened(balance):
    return Account(balance)


@marked(returns=1)
def where():
    return os.getpid()


@marked(returns=1, on_failure="FAIL")
def fail():
    raise ZeroDivisionError("on purpose")


def main(words):
    account = Account(1)
    account.pay_in(2)
    another = opened(10)
    print(api.wait_on(account).balance, api.wait_on(another).balance, sys.stdin.readline().strip(), *words)
    print("elsewhere" if api.wait_on(where()) != os.getpid() else "here")
    if "fail" in words:
        fail()
    if "wait" in words:
        api.wait_on(fail())
    if "exit" in words:
        sys.exit(7)


if __name__ == "__main__":
    main(sys.argv[1:])
