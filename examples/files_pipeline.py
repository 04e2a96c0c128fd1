"""A pipeline over files: readings are recorded, cleaned and reported, each step by a task, wherever there is room.

    python examples/files_pipeline.py                    # in place
    agentd call examples/files_pipeline.py /tmp/report   # on an agent with neighbours: steps run on any of them

The files travel between the agents as the tasks need them; the paths are only names for the program.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pycompss.api.api import compss_open, compss_wait_on
from pycompss.api.parameter import COLLECTION_FILE_IN, FILE_IN, FILE_INOUT, FILE_OUT
from pycompss.api.task import task

STATIONS = 3
READINGS = 200


@task(path=FILE_OUT)
def record(path: str, station: int) -> None:
    """Write a station's readings, some of them wrong."""
    lines = [str((station * 37 + n * n) % 101 if n % 10 else -999) for n in range(READINGS)]
    Path(path).write_text("\n".join(lines))


@task(path=FILE_INOUT, returns=int)
def clean(path: str) -> int:
    """Take the wrong readings out of a file; says how many they were."""
    file = Path(path)
    lines = file.read_text().split()
    kept = [line for line in lines if line != "-999"]
    file.write_text("\n".join(kept))
    return len(lines) - len(kept)


@task(path=FILE_IN, returns=float)
def mean(path: str) -> float:
    """Give the mean of a file's readings."""
    numbers = [int(line) for line in Path(path).read_text().split()]
    return sum(numbers) / len(numbers)


@task(paths=COLLECTION_FILE_IN, report=FILE_OUT)
def write_report(paths: list[str], means: list[float], report: str) -> None:
    """Write one line for each station."""
    lines = [
        f"station {number}: {len(Path(path).read_text().split())} readings, mean {value:.2f}"
        for number, (path, value) in enumerate(zip(paths, means, strict=True))
    ]
    Path(report).write_text("\n".join(lines) + "\n")


def main(folder: str) -> None:
    """Run the pipeline for all stations, and show the report."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [f"{folder}/station{number}.txt" for number in range(STATIONS)]
    for number, path in enumerate(paths):
        record(path, number)
    wrong = [clean(path) for path in paths]
    means = compss_wait_on([mean(path) for path in paths])
    write_report(paths, means, f"{folder}/report.txt")
    print(f"{sum(compss_wait_on(wrong))} readings were wrong")
    with compss_open(f"{folder}/report.txt") as report:
        print(report.read(), end="")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as place:
            main(place)
