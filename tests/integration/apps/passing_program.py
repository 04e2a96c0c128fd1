import sys

from passed_values import applied, filled, first_of, grown, opened, rest_of
from pycompss.api.api import compss_wait_on
from pycompss.api.parameter import COLLECTION_IN
from pycompss.api.reduce import reduce
from pycompss.api.task import task

FACTOR = int(sys.argv[1])


class Thing:
    def __init__(self, value):
        self.value = value


def times(value):
    return value * FACTOR


@reduce(chunk_size="2")
@task(returns=1, parts=COLLECTION_IN)
def added(parts):
    return sum(parts)


if __name__ == "__main__":
    print(compss_wait_on(applied(times, 4)), compss_wait_on(applied(lambda n: times(n) + 1, 4)))
    thing, name = opened(Thing(1))
    thing = compss_wait_on(thing)
    print(thing.value, compss_wait_on(name), isinstance(thing, Thing))
    print(compss_wait_on(first_of(n for n in range(5, 9))), list(compss_wait_on(rest_of(iter([1, 2, 3])))))
    rows = [[1], [2], []]
    grown(rows, 7)
    grown(rows, 8)
    others = [[], []]
    filled(others)
    print(compss_wait_on(rows), compss_wait_on(others))
    print(compss_wait_on(added([applied(times, n) for n in range(5)])))
