"""Functions that fail in the ways in which users' code fails, for what is told of them."""

from __future__ import annotations

from typing import Any

from agentd.api import task, wait_on


def total(prices: list[int]) -> int:
    """Be called with what does not fit."""
    return sum(prices)


@task(returns=int)
def half(number: int) -> int:
    """Fail as a task, where the number is odd."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def ask_wrongly() -> Any:
    """Call a task with too many arguments."""
    return wait_on(half(1, 2))  # type: ignore[call-arg]


def ask_for_odd() -> Any:
    """Wait for a task that fails."""
    return wait_on(half(3))


def explain() -> None:
    """Raise one exception out of another."""
    try:
        total(None)  # type: ignore[arg-type]
    except TypeError as error:
        raise RuntimeError("no prices") from error


def gather() -> None:
    """Raise several at once."""
    errors = []
    for given in ((), (1,)):
        try:
            total(*given)
        except TypeError as error:
            errors.append(error)
    raise ExceptionGroup("both", errors)
