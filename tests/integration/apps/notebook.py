"""What a notebook does: starts the runtime, calls tasks, stops it; says what came of it, line by line."""

import os

import pycompss.interactive as ipycompss
from pycompss.api.api import compss_wait_on
from pycompss.api.parameter import INOUT
from pycompss.api.task import task


@task(returns=1)
def who(_):
    return os.getpid()


@task(a=INOUT)
def add(a, n):
    a.append(n)


if __name__ == "__main__":
    ipycompss.start(graph=True, monitor=1000)
    ipycompss.start()
    pids = compss_wait_on([who(n) for n in range(4)])
    print(ipycompss.is_running(), os.getpid() in pids)
    numbers = []
    for number in range(3):
        add(numbers, number)
    print(compss_wait_on(numbers))
    print(sorted((row[:3] for row in ipycompss.tasks_info()), reverse=True), list(ipycompss.tasks_status()))
    print(ipycompss.statistics()[0][1], ipycompss.complete_task_graph().data.count("<title>"))
    print(ipycompss.current_task_graph().data.count("<title>"), len(ipycompss.resource_status()))
    left = who(1)
    ipycompss.stop(sync=True)
    print(ipycompss.is_running(), type(left).__name__, who(2) == os.getpid())
