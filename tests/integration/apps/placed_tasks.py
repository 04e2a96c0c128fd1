"""Tasks that are not only the scheduler's to place: on each host, host after host, in one of several ways, on nodes."""

import os
import time
from pathlib import Path

from agentd.api import INOUT, constraint, implement, mpi, multinode, task, wait_on


def here():
    return os.environ["COMPSS_HOSTNAMES"].split(",")[0]


def noted(folder, what):
    name = f"{what}-{here()}-{time.monotonic_ns()}"
    Path(folder, name).touch()
    return here()


@task(returns=str, is_replicated=True)
def prepared(folder):
    time.sleep(0.2)
    return noted(folder, "prepared")


@task(returns=list)
def looked_after(folder, _):
    return sorted(name.split("-")[1] for name in os.listdir(folder) if name.startswith("prepared"))


@task(d=INOUT, is_replicated=True)
def changed(d, by):
    d["n"] += by


@task(is_replicated=True, on_failure="FAIL")
def failing_on(host):
    if here() == host:
        raise ValueError(f"not on {host}")


@task(returns=str, is_distributed=True)
def in_turn(folder):
    return noted(folder, "turn")


def on_each(folder):
    """What runs on every host, and what runs behind it."""
    first = prepared(folder)
    seen = wait_on(looked_after(folder, first))
    d = {"n": 1}
    changed(d, 1)
    changed(d, 10)
    return [seen, wait_on(first), wait_on(d)["n"]]


def one_fails(host):
    failing_on(host)


def round_robin(folder, count):
    return wait_on([in_turn(folder) for _ in range(count)])


@implement(source_class="placed_tasks", method="way")
@constraint(processors=[{"ProcessorType": "GPU", "ComputingUnits": 1}])
@task(returns=list)
def gpu_way(seconds):
    time.sleep(seconds)
    return ["gpu", here(), os.environ.get("CUDA_VISIBLE_DEVICES", "")]


@constraint(computing_units=1)
@task(returns=list)
def way(seconds):
    time.sleep(seconds)
    return ["plain", here(), os.environ.get("CUDA_VISIBLE_DEVICES", "")]


@implement(source_class="placed_tasks", method="way")
@constraint(app_software="NOBODY_HAS_THIS")
@task(returns=list)
def rare_way(seconds):
    return ["rare", here(), ""]


def ways(count, seconds):
    return wait_on([way(seconds) for _ in range(count)])


def called_directly():
    return wait_on(gpu_way(0))[0]


@constraint(computing_units=2)
@multinode(computing_nodes="{nodes}")
@task(returns=dict)
def many_nodes(nodes):
    names = ("COMPSS_NUM_NODES", "COMPSS_HOSTNAMES", "COMPSS_NUM_THREADS", "OMP_NUM_THREADS", "COMPSS_BINDED_CPUS")
    return {name: os.environ[name] for name in names}


@task(returns=str)
def nodes_of_a_plain_task(_):
    return os.environ["COMPSS_NUM_NODES"] + os.environ["COMPSS_NUM_THREADS"]


def nodes(count):
    found = wait_on(many_nodes(count))
    return [found, wait_on(nodes_of_a_plain_task(found))]


@multinode(computing_nodes=3)
@task(returns=list)
def spread_over_hosts(folder, seconds):
    noted(folder, "began")
    time.sleep(seconds)
    return [os.environ["COMPSS_NUM_NODES"], os.environ["COMPSS_HOSTNAMES"], os.environ["COMPSS_NUM_THREADS"]]


@mpi(runner="mpirun", binary="hello", processes=3)
@task(returns=int)
def three_processes():
    pass


@task(returns=str)
def short():
    time.sleep(0.01)
    return here()


def over_hosts(folder, seconds=0.2):
    return wait_on(spread_over_hosts(folder, seconds))


def mpi_over_hosts():
    return wait_on(three_processes())


def many(count):
    return wait_on([short() for _ in range(count)])
