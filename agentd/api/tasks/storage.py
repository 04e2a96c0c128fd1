"""Objects that live in a store of their own: they travel by identifier, and are got from the store where they are used.

The interface is the one that COMPSs knows (its manual, "persistent storage"): an object says its identifier with
`getID()`, None until it was made persistent, and the store's module, by default `storage.api` on the users' path, has
`getByID(identifier)`. It may have `initWorker(config_file_path=…)` and `finishWorker()` for workers, and `init` and
`finish` for programs: the first is called before the first object is got.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
from itertools import islice
from types import GeneratorType
from typing import Any

PORT = "_agentd_worker_task"
"""As in `agentd/api/tasks/runtime.py`."""
MODULE = "storage.api"
GENERATED_MOST = 10_000_000
"""Values that a generator may have left to travel; chosen: one without an end would take all memory."""


def identifier_of(value: Any) -> str | None:
    """Give the identifier of a persistent object; None for all others."""
    ask = getattr(type(value), "getID", None)
    if ask is None:
        return None
    found = ask(value)
    return found if isinstance(found, str) and found else None


class _Store:
    """The store of this process, once it was needed."""

    def __init__(self) -> None:
        self.where: tuple[str, str] | None = None
        """What a session's agent says of it; None: what this worker's own says."""
        self.module: Any = None
        self.loading = threading.Lock()


_store = _Store()


def chosen() -> tuple[str, str]:
    """Give the store's module, or the folder that it lies in, and the file that it is configured by."""
    if _store.where is not None:
        return _store.where
    found: tuple[str, str] = getattr(sys.modules.get(PORT), "storage", (MODULE, ""))
    return found


def choose(module: str, file: str) -> None:
    """Use this store from now on; a folder is put on the module path, behind all others."""
    if os.sep in module and module not in sys.path:
        sys.path.append(module)
    _store.where, _store.module = (module, file), None


def _loaded() -> Any:
    """Give the store's module, told of its configuration.

    Raises:
        ModuleNotFoundError: there is no such module on the path of users' code.
    """
    with _store.loading:
        if _store.module is None:
            name, file = chosen()
            module = importlib.import_module(MODULE if os.sep in name else name)
            worker = sys.modules.get(PORT)
            begin = getattr(module, "init" if worker is None else "initWorker", None)
            end = getattr(module, "finish" if worker is None else "finishWorker", None)
            if begin is not None:
                begin(config_file_path=file or None)
            if end is not None:
                atexit.register(end)
            _store.module = module
        return _store.module


def stored(identifier: str) -> Any:
    """Get an object from the store; named in pickles.

    Raises:
        ModuleNotFoundError: there is no store on the path of users' code.
    """
    try:
        store = _loaded()
    except ModuleNotFoundError as error:
        name = MODULE if os.sep in chosen()[0] else chosen()[0]
        if error.name is None or not name.startswith(error.name):
            raise
        words = f"object {identifier} is in a store: its module {name} is to be on --pythonpath, or in --storage-impl"
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
    """Give what travels for a value: itself, what stands for a persistent object, or what a generator has left."""
    if type(value) is GeneratorType:
        found = list(islice(value, GENERATED_MOST + 1))
        if len(found) > GENERATED_MOST:
            raise ValueError(f"a generator of more than {GENERATED_MOST} values cannot travel: it may have no end")
        return iter(found)
    identifier = identifier_of(value)
    return value if identifier is None else Stored(identifier)
