"""What becomes of tasks that fail: tried again, ignored, cancelled with what needs them, or ended as a group.

    agentd call examples/failures.py         # on the agent of this device

In place, without an agent, a failing task is a failing call, and the program says so and ends.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pycompss.api.api import TaskGroup, compss_barrier, compss_barrier_group, compss_wait_on
from pycompss.api.exceptions import COMPSsException
from pycompss.api.on_failure import on_failure
from pycompss.api.parameter import INOUT
from pycompss.api.task import task
from pycompss.util.context import in_pycompss


@on_failure(management="RETRY")
@task(returns=int)
def third_time_lucky(notes: str) -> int:
    """Fail twice: the note of each attempt stays."""
    with Path(notes).open("a") as file:
        file.write("x")
    attempts = len(Path(notes).read_text())
    if attempts < 3:
        raise OSError(f"attempt {attempts} fails")
    return attempts


@on_failure(management="IGNORE", returns=-1)
@task(returns=int)
def divided(a: int, b: int) -> int:
    """Divide; by nothing gives -1."""
    return a // b


@on_failure(management="CANCEL_SUCCESSORS")
@task(chain=INOUT)
def step(chain: list[int], number: int) -> None:
    """Note a step; the third one fails."""
    if number == 3:
        raise ValueError("the third step fails")
    chain.append(number)


@task(returns=int)
def looked(place: int) -> int:
    """Look somewhere; who finds it ends the search of all."""
    if place == 2:
        raise COMPSsException(f"found at {place}")
    return place


def main(notes: str) -> None:
    """Try all of them."""
    print("tried again:", compss_wait_on(third_time_lucky(notes)), "attempts")
    print("ignored:", compss_wait_on([divided(7, 2), divided(7, 0)]))
    good: list[int] = []
    bad: list[int] = []
    for number in (1, 2):
        step(good, number)
    for number in (3, 4):
        step(bad, number)
    compss_barrier()
    print("cancelled:", compss_wait_on(good), compss_wait_on(bad))
    with TaskGroup("search", implicit_barrier=False):
        for place in range(6):
            looked(place)
    try:
        compss_barrier_group("search")
    except COMPSsException as end:
        print("the group ended:", end.message)


if __name__ == "__main__":
    if not in_pycompss():
        sys.exit("this example needs an agent: agentd call examples/failures.py")
    with tempfile.TemporaryDirectory() as folder:
        main(f"{folder}/notes")
