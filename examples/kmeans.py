"""k-means over the functions of Python's standard library: which kinds of functions are there?

    python examples/kmeans.py                # in place; a number behind it: so many rounds
    agentd call examples/kmeans.py           # on the agent of this device, and on its neighbours

Each file is read by a task; of its functions the task measures lines, arguments, branches and calls. Each round of
k-means is a task for each piece of the data and a tree of tasks that adds up what they found.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
from pycompss.api.api import compss_barrier, compss_wait_on
from pycompss.api.parameter import COLLECTION_IN, FILE_IN, Depth, Type
from pycompss.api.task import task
from pycompss.functions.reduce import merge_reduce

PACKAGES = ("email", "http", "json", "logging")
MEASURES = ("lines", "arguments", "branches", "calls")
ROUNDS = 8
PIECES = 6


@task(path=FILE_IN, returns=np.ndarray)
def measured(path: str) -> np.ndarray:
    """Give a row for each function of a file: lines, arguments, branches, calls; on a scale of logarithms."""
    rows = []
    for node in ast.walk(ast.parse(Path(path).read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            inner = list(ast.walk(node))
            branches = sum(isinstance(one, ast.If | ast.For | ast.While | ast.Try) for one in inner)
            calls = sum(isinstance(one, ast.Call) for one in inner)
            rows.append((node.end_lineno - node.lineno + 1, len(node.args.args), branches, calls))
    return np.log1p(np.array(rows, dtype=float).reshape(-1, 4))


@task(files={Type: COLLECTION_IN, Depth: 1}, returns=np.ndarray)
def joined(files: list[np.ndarray]) -> np.ndarray:
    """Put the rows of several files together."""
    return np.concatenate(files)


@task(returns=1)
def sums(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Give for each centre the sum of the rows that are nearest to it, and how many they are."""
    nearest = ((rows[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    found = np.zeros((len(centres), rows.shape[1] + 1))
    np.add.at(found[:, :-1], nearest, rows)
    np.add.at(found[:, -1], nearest, 1)
    return found


@task(returns=1)
def added(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Add two pieces up."""
    return a + b


def main(rounds: str = "") -> None:
    """Find the centres in some rounds, and say what they stand for."""
    library = Path(ast.__file__).parent
    paths = sorted(
        str(path) for package in ("email", "http", "json", "logging") for path in library.glob(f"{package}/*.py")
    )
    files = [measured(path) for path in paths]
    data = [joined(files[number::PIECES]) for number in range(PIECES)]
    compss_barrier()
    centres = np.log1p(np.array([[3, 1, 0, 1], [8, 2, 1, 4], [20, 3, 3, 10], [60, 4, 10, 30]], dtype=float))
    for _ in range(int(rounds or ROUNDS)):
        total = compss_wait_on(merge_reduce(added, [sums(piece, centres) for piece in data]))
        counts = total[:, -1:]
        centres = np.where(counts > 0, total[:, :-1] / np.maximum(counts, 1), centres)
    print(f"{len(paths)} files, {int(total[:, -1].sum())} functions")
    for count, centre in sorted(zip(total[:, -1], np.expm1(centres), strict=True), key=lambda pair: pair[1][0]):
        shown = [f"{value:.1f} {what}" for value, what in zip(centre, MEASURES, strict=True)]
        print(f"{int(count):5} of about {', '.join(shown)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
