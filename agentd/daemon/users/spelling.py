"""Names that were written wrongly: which one was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OF_CLIENTS = frozenset({"TOKEN", "CONFIG"})
"""Variables that commands and programs read, and an agent does not."""
_INJECTED = ("SERVICE_", "PORT_")
"""Beginnings of what a cluster sets in every container for a service of this product's name (Kubernetes, "Discovering
services"); the first names addresses of HTTP services for tasks, too."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the known name that is most like this one; empty when none is like it."""
    import difflib  # for wrong names only: it loads the regular expressions

    return next(iter(difflib.get_close_matches(name, list(known), 1)), "")


def meant(name: str) -> str:
    """Put the name into the words that end a complaint; empty for an empty one."""
    return f"; did you mean {name}?" if name else ""


def stray(environment: Mapping[str, str], prefix: str, known: Iterable[str]) -> tuple[str, ...]:
    """Complain of variables with our prefix that nobody reads, each with the name that was perhaps meant.

    That is no error, unlike a wrong option: an environment is filled by many, for other versions of this program too.
    """
    names = [name.upper() for name in known]
    read = {*names, *OF_CLIENTS, "PORT"}
    return tuple(
        f"the variable {variable} of the environment has no effect: there is no such setting"
        + (meant(f"{prefix}{near}") if (near := nearest(name, names)) else "; `agentd doctor` lists them")
        for variable in sorted(environment)
        if variable.startswith(prefix)
        and (name := variable.removeprefix(prefix)) not in read
        and not name.startswith(_INJECTED)
    )
