"""One process of a task that runs in several: reads its arguments, calls the function, writes what it gives.

It is started by path, standard library only: `python rank.py FOLDER`.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path
from typing import Any

JOB = "job.pickle"
RESULT = "result-"
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
"""Where the launchers say which process this is."""


def number() -> int:
    """Tell which rank this is; 0 where nobody says so."""
    return next((int(os.environ[name]) for name in _RANKS if os.environ.get(name, "").isdecimal()), 0)


def share(value: Any, layout: dict[str, int], rank: int) -> Any:
    """Give a rank's part of a list: blocks of `block_length`, `stride` apart; `block_count` of them go round."""
    count, length = layout.get("block_count", 1), layout.get("block_length", 1)
    start = (rank % count if count > 0 else rank) * layout.get("stride", length)
    return value[start : start + length]


def main(folder: Path) -> None:
    """Run one rank."""
    job = pickle.loads((folder / JOB).read_bytes())
    sys.path[:] = job["path"]
    found: Any = importlib.import_module(job["module"])
    for name in job["qualname"].split("."):
        found = getattr(found, name)
    definition = getattr(getattr(found, "__func__", found), "__agentd_task__")  # noqa: B009 - its name is a contract
    arguments, rank = dict(job["arguments"]), number()
    for name, layout in job["layouts"].items():
        arguments[name] = share(arguments[name], layout, rank)
    more = arguments.pop(job["varargs"], ()) if job["varargs"] else ()
    rest = arguments.pop(job["varkwargs"], {}) if job["varkwargs"] else {}
    args = [*(arguments.pop(name) for name in job["names"]), *more] if more else []
    try:
        result = (True, definition.function(*args, **arguments, **rest))
    except Exception as error:  # noqa: BLE001 - users' code runs here
        result = (False, error)
    place = folder / f"{RESULT}{rank}"
    aside = place.with_suffix(".part")
    aside.write_bytes(pickle.dumps(result, protocol=5))
    aside.replace(place)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
