import os
import sys

from pycompss.api.api import compss_barrier, compss_wait_on
from pycompss.api.task import task

COUNT = int(sys.argv[1])
FOLDER = sys.argv[2]
print("begins")


@task(returns=int)
def inc(x):
    with open(os.path.join(FOLDER, f"ran-{x}"), "a") as file:
        file.write("x")
    return x + OFFSET


OFFSET = 100
values = [inc(i) for i in range(COUNT)]
print("called")


class Sum:
    def __init__(self):
        self.value = 0

    @task()
    def add(self, x):
        self.value += x * FACTOR


FACTOR = 2
total = Sum()
for value in values:
    total.add(value)
compss_barrier()
total = compss_wait_on(total)
print(total.value)
