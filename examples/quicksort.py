"""Sorts by tasks that call tasks that call tasks: one core is enough for any depth.

    python examples/quicksort.py             # in place
    agentd call examples/quicksort.py 2000   # on the agent of this device, however few cores it has

A task that waits for its halves gives its core back meanwhile, and has it again when they are there.
"""

from __future__ import annotations

import random
import sys

from agentd.api import task, wait_on

SMALL = 64


@task(returns=list)
def quicksort(numbers: list[int]) -> list[int]:
    """Sort: what is smaller, and what is larger, is sorted by a task of its own."""
    if len(numbers) <= SMALL:
        return sorted(numbers)
    pivot = numbers[len(numbers) // 2]
    smaller = quicksort([one for one in numbers if one < pivot])
    larger = quicksort([one for one in numbers if one > pivot])
    smaller, larger = wait_on(smaller, larger)
    return [*smaller, *[pivot] * numbers.count(pivot), *larger]


def main(count: int) -> None:
    """Sort random numbers and compare with Python's own sort."""
    numbers = [random.Random(place).randrange(count * 10) for place in range(count)]
    print(f"{count} numbers, sorted: {wait_on(quicksort(numbers)) == sorted(numbers)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
