"""How the texts of settings become values.

Law: what cannot be read is a `ValueError` that says what was expected; who reads adds where it stood.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

AUTO = 0
"""Port: the kernel chooses a free one."""
OFF = -1
"""Port: this interface is not opened."""


def words(text: str) -> tuple[str, ...]:
    """Read names that stand between commas or semicolons."""
    return tuple(word.strip() for word in re.split(r"[,;]", text) if word.strip())


def folders(text: str) -> tuple[Path, ...]:
    """Read folders as a PATH has them."""
    return tuple(Path(word).expanduser().absolute() for word in text.split(os.pathsep) if word)


def port(text: str) -> int:
    """Read a port: `auto` for any that is free, 0 for none."""
    if text.strip().lower() == "auto":
        return AUTO
    try:
        number = int(text)
    except ValueError:
        raise ValueError("give a port, `auto` for any that is free, or 0 for none") from None
    if number > 65535:
        raise ValueError("a port is at most 65535")
    return number if number > 0 else OFF


def truth(text: str) -> bool:
    """Read yes or no; an option without a value says yes."""
    word = text.strip().lower()
    if word in {"true", "yes", "on", "1", ""}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError("say true or false")


def name(text: str) -> str:
    """Read the name of an agent."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?", text):
        raise ValueError("a name has letters, digits, dots, dashes and underscores, at most 254")
    return text


def at_least(least: float, kind: Callable[[str], float]) -> Callable[[str], Any]:
    """Make the reading of a number that has a floor, which is whole where the numbers are."""

    def convert(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not number >= least:
            raise ValueError(f"give a {'whole ' if isinstance(least, int) else ''}number from {least:g}")
        return number

    return convert


def one_of(*choices: str) -> Callable[[str], str]:
    """Make the reading of one of some words."""

    def convert(text: str) -> str:
        word = text.strip().lower()
        if word not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return word

    return convert


def folder(text: str) -> Path:
    """Read a path; an empty one, as of a variable of a shell that is not set, would be the current folder."""
    if not text:
        raise ValueError("a path is empty here")
    return Path(text).expanduser().absolute()


def existing(text: str) -> Path:
    """Read the path of a file that is there."""
    path = folder(text)
    if not path.is_file():
        raise ValueError("there is no such file")
    return path


def store(text: str) -> str:
    """Read where a store of objects has its module: a dotted name, or the folder that holds it."""
    if os.sep in text:
        place = folder(text)
        if not (place / "storage").exists():
            raise ValueError("there is no storage in that folder: it holds storage/api.py")
        return str(place)
    if not all(part.isidentifier() for part in text.split(".")):
        raise ValueError("a module, as package.module, or a folder")
    return text
