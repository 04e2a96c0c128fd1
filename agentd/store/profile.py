"""What functions take, kept over restarts, in the form of the field's execution profiles.

A profile is JSON: `{"implementations": {SIGNATURE: {"executions", "avgTime", "minTime", "maxTime"}}}`, times in
milliseconds on a core of speed 1; what else stands in it (nodes, clouds, prices) is passed over. A signature is
`package.module:function`, or, as the field writes it, `package.module.function`.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from agentd.core.tasks.shapes import Learned
from agentd.model.errors import ConfigError
from agentd.store.disk import Disk, read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAME = "profile.json"
LIMIT_BYTES = 4 << 20
"""Of a profile that is read (chosen: above what all functions that are remembered take)."""


def write_profile(disk: Disk, path: Path, learned: Iterable[Learned]) -> None:
    """Put a profile in the place of the last one.

    Raises:
        OSError: it was not done; the last one is still there.
    """
    rows = {
        one.function: {
            "executions": one.runs,
            "avgTime": 1000 * one.seconds,
            "minTime": 1000 * one.seconds,
            "maxTime": 1000 * one.seconds,
            "resultBytes": one.result_bytes,
        }
        for one in learned
    }
    write_file(disk, path, json.dumps({"implementations": rows}, indent=1).encode() + b"\n")


def read_profile(disk: Disk, path: Path) -> list[Learned]:
    """Read a profile; nothing when there is no such file.

    Raises:
        ConfigError: it is no profile; the message names the file and what is wrong.
        OSError: it cannot be read.
    """
    data = read_file(disk, path, limit=LIMIT_BYTES)
    return [] if data is None else parse(data, str(path))


def read_given(path: Path) -> list[Learned]:
    """Read the profile that the operator names.

    Raises:
        ConfigError: it cannot be read, or is no profile.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > LIMIT_BYTES:
                raise ConfigError(f"--input-profile: {path} is larger than {LIMIT_BYTES} bytes")
            data = file.read(LIMIT_BYTES)
    except OSError as error:
        raise ConfigError(f"--input-profile: {path}: {error.strerror}") from error
    return parse(data, f"--input-profile: {path}")


def parse(data: bytes, where: str) -> list[Learned]:
    """Read what a profile says.

    Raises:
        ConfigError: it is no profile; the message begins with `where`.
    """
    try:
        rows = json.loads(data).get("implementations", {})
        return [_learned(signature, row) for signature, row in rows.items() if row.get("executions", 0)]
    except (ValueError, AttributeError, TypeError, KeyError, OverflowError, RecursionError) as error:
        words = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{where} is no execution profile (JSON with `implementations`): {words}") from error


def _learned(signature: str, row: dict[str, object]) -> Learned:
    seconds, runs = float(row["avgTime"]) / 1000, int(row["executions"])  # type: ignore[arg-type, call-overload]
    result_bytes = float(row.get("resultBytes", 0.0))  # type: ignore[arg-type]
    if not (0 <= seconds < float("inf") and 0 <= result_bytes < float("inf") and runs > 0):
        raise ValueError(f"{signature}: a time, a size or a count that cannot be")
    if ":" not in signature:
        module, _, name = signature.rpartition(".")
        signature = f"{module}:{name}"
    return Learned(signature, seconds, result_bytes, runs)
