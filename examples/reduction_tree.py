"""Reduces many values as a tree: `@reduction` makes a call over a long list into calls over short ones.

python examples/reduction_tree.py                # in place: one call
agentd call examples/reduction_tree.py 1024      # on the agent of this device: a tree, eight values for each call
"""

from __future__ import annotations

import sys

from agentd.api import COLLECTION_IN, reduction, task, wait_on


@task(returns=int)
def leaf(number: int) -> int:
    """Give one of the values."""
    return number * number % 1_000_003


@reduction(chunk_size="8")
@task(returns=int, values=COLLECTION_IN)
def total(values: list[int]) -> int:
    """Add values up; what it gives can be added up again."""
    return sum(values)


def main(count: int) -> None:
    """Reduce, and compare."""
    found = wait_on(total([leaf(number) for number in range(count)]))
    print(f"{count} leaves, {found}, correct: {found == sum(number * number % 1_000_003 for number in range(count))}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
