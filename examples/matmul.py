"""Multiplies two matrices block by block, as programs for PyCOMPSs do; runs alone and on agents, unchanged.

    python examples/matmul.py                       # in place, no agent
    agentd call examples/matmul.py 4 64             # 4 x 4 blocks of 64 x 64, on the agent of this device

Each product of two blocks is a task that adds to the block of the result: INOUT, so that those of one block run one
after the other and all others side by side.
"""

from __future__ import annotations

import sys

import numpy as np
from pycompss.api.api import compss_wait_on
from pycompss.api.constraint import constraint
from pycompss.api.parameter import INOUT
from pycompss.api.task import task

Block = np.ndarray


@task(returns=1)
def random_block(size: int, seed: int) -> Block:
    """Make a block where it will be used."""
    return np.random.default_rng(seed).random((size, size))


@constraint(computing_units="1")
@task(c=INOUT)
def multiply_add(a: Block, b: Block, c: Block) -> None:
    """Add the product of two blocks to a third one."""
    c += a @ b


def multiply(a: list[list[Block]], b: list[list[Block]], size: int) -> list[list[Block]]:
    """Give the blocks of the product; waits for nothing."""
    count = len(a)
    c = [[np.zeros((size, size)) for _ in range(count)] for _ in range(count)]
    for row in range(count):
        for column in range(count):
            for inner in range(count):
                multiply_add(a[row][inner], b[inner][column], c[row][column])
    return c


def main(count: int, size: int) -> None:
    """Multiply, and compare with what one call of numpy gives."""
    a, b = (
        [[random_block(size, start + row * count + column) for column in range(count)] for row in range(count)]
        for start in (0, 1000)
    )
    c = compss_wait_on(multiply(a, b, size))
    error = np.abs(np.block(c) - np.block(compss_wait_on(a)) @ np.block(compss_wait_on(b))).max()
    print(f"{count} x {count} blocks of {size} x {size}: trace {np.trace(np.block(c)):.6f}, correct: {error < 1e-9}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3] or (3, 32)))
