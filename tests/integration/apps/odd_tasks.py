"""Tasks that are defined in odd places, and odd things that are waited for."""

import os
import warnings

from pycompss.api.api import compss_wait_on
from pycompss.api.task import task


class Shape:
    side = 3

    @property
    @task(returns=1)
    def area(self):
        return self.side**2, os.getpid()


double = task(returns=1)(lambda n: (2 * n, os.getpid()))
exec("@task(returns=1)\ndef shifted(n):\n    return n + 5, os.getpid()")


def local(offset):
    @task(returns=1)
    def inner(n):
        return n + offset, os.getpid()

    return inner(1)


if __name__ == "__main__":

    @task(returns=1)
    def guarded():
        return 1

    found = compss_wait_on([Shape().area, double(4), shifted(1), local(6)])  # noqa: F821 - by exec
    print([value for value, _ in found], os.getpid() in {pid for _, pid in found})
    itself = []
    itself.append(itself)
    try:
        compss_wait_on(itself)
    except ValueError as error:
        print(error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        print(compss_wait_on(guarded()))
    print("above its main guard" in str(caught[0].message))
