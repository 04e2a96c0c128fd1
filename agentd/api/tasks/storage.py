"""Objects that live in a store of their own: they travel by identifier, and are got from the store where they are used.

The interface is the one that COMPSs knows (its manual, "persistent storage"): an object says its identifier with
`getID()`, None until it was made persistent, and the module `storage.api` on the users' path has `getByID(identifier)`.
"""

from __future__ import annotations

import importlib
from typing import Any

MODULE = "storage.api"


def identifier_of(value: Any) -> str | None:
    """Give the identifier of a persistent object; None for all others."""
    ask = getattr(type(value), "getID", None)
    if ask is None:
        return None
    found = ask(value)
    return found if isinstance(found, str) and found else None


def stored(identifier: str) -> Any:
    """Get an object from the store; named in pickles.

    Raises:
        ModuleNotFoundError: there is no store on the path of users' code.
    """
    try:
        store = importlib.import_module(MODULE)
    except ModuleNotFoundError as error:
        if error.name is None or not MODULE.startswith(error.name):
            raise
        words = f"object {identifier} is in a store: its module {MODULE} is to be on --pythonpath"
        raise ModuleNotFoundError(words, name=error.name) from None
    return store.getByID(identifier)


class Stored:
    """Stands for a persistent object in a pickle."""

    __slots__ = ("identifier",)

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier

    def __reduce__(self) -> tuple[Any, ...]:
        return stored, (self.identifier,)


def outward(value: Any) -> Any:
    """Give what travels for a value: itself, or for a persistent object what stands for it."""
    identifier = identifier_of(value)
    return value if identifier is None else Stored(identifier)
