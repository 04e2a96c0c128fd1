"""Figures as people read them: durations and sizes with the unit that suits them, and how many of what."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Say how long something took."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def counted(count: int, noun: str, verb: str = "") -> str:
    """Say how many of something, and what they do: `1 task waits`, `2 tasks wait`; both words as of one and of many."""
    if verb:
        verb = f" {verb}s" if count == 1 else f" {verb}"
    return f"{count} {noun}{verb}" if count == 1 else f"{count} {noun}s{verb}"


def size(count: int) -> str:
    """Say a number of bytes."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{_digits(amount)} {unit}"
        amount /= 1024
    return f"{_digits(amount)} GiB"


def _digits(amount: float) -> str:
    return f"{amount:.3g}" if amount < 1000 else f"{amount:.0f}"
