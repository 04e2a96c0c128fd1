"""From a name, a pickle or a source to something to call; and whether it may be called.

Law: by name, only public callables can be called that are defined in a module under the users' folders, or in a module
that the operator allows.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import pickle
import sys
import types
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .failures import Reason, Refused
from .programs import main_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WRAPS = 32
"""How many layers of decorators are looked through; chosen: far more than anybody writes."""
OURS = ("agentd", "cli", "schedulers", "resources_xml")
"""Our own packages. What lies beside them is users' code where it is under a root, as in a copy of the source."""
_FOREIGN = frozenset({"site-packages", "dist-packages"})
_OWN = ("agentd", "cli", "schedulers", "resources_xml")
"""Our packages."""

_NOT_THERE = ("it is not there", "workers have of a program what stands above its main guard, and it is not there")


class Finder:
    """Finds functions by name.

    `roots` are the users' folders; `allow` are names of modules, each with what is below it; our own packages, which
    lie in `own_folder`, are never users' code, even where that folder is a root.
    """

    def __init__(self, roots: list[str], allow: list[str], own_folder: str) -> None:
        self._roots = [os.path.realpath(root) for root in roots]
        self._allow = tuple(allow)
        own = os.path.realpath(own_folder)
        self._own = tuple(os.path.join(own, name, "") for name in OURS)

    def find(self, name: str) -> Callable[..., Any]:
        """Give the callable that `package.module:callable` names.

        Raises:
            Refused: it is not there, or may not be called; the message says why.
            Exception: whatever the module raises when it is imported.
        """
        module_name, path = _split(name)
        self._check_before_import(module_name)
        module = _import(module_name)
        if not self._may_hold(module_name):
            raise Refused(Reason.NOT_CALLABLE, _forbidden(module_name))
        target: Any = module
        for part in path:
            if target is not module and not isinstance(target, type):
                raise Refused(Reason.NOT_CALLABLE, f"{name}: only classes have callables below them")
            try:
                target = getattr(target, part)
            except AttributeError:
                raise Refused(Reason.NOT_CALLABLE, f"{name}: module {module_name} has no {'.'.join(path)}") from None
        if not callable(target):
            raise Refused(Reason.NOT_CALLABLE, f"{name} is a {type(target).__name__}, which cannot be called")
        if not any(home == module_name or self._may_hold(home, module_name) for home in _homes(target)):
            home = next(_homes(target), "?")
            raise Refused(Reason.NOT_CALLABLE, f"{name} is defined in {home}, not in users' code; allow that module")
        return target  # type: ignore[no-any-return]

    def find_task(self, name: str, code: bytes) -> Callable[..., Any]:
        """Give the decorated function that `module:qualname` names; in `__main__`, which `code` is the source of.

        Any module will do: who asks for a task is a task of this agent, or may have its code run here anyway.

        Raises:
            Refused: it is not there.
            Exception: whatever the module raises when it is imported.
        """
        module_name, _, path = name.partition(":")
        program = main_of(code) if code else None  # also where only its arguments are made of it
        module = program if module_name == "__main__" and program is not None else _import(module_name)
        target: Any = module
        for part in path.split("."):
            try:
                target = getattr(target, part)
            except AttributeError:
                hint = _NOT_THERE[module_name == "__main__"]
                raise Refused(Reason.NOT_CALLABLE, f"{name} cannot be found in its module: {hint}") from None
        return target  # type: ignore[no-any-return]

    def _check_before_import(self, module: str) -> None:
        """Refuse, before any of its code runs, what is certainly not users' code."""
        if self._is_allowed(module) or module in sys.modules:
            return
        top = module.partition(".")[0]
        spec = importlib.machinery.PathFinder.find_spec(top)
        if spec is None:
            raise Refused(Reason.NOT_CALLABLE, f"there is no module {top} on this agent's path")
        places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
        if not any(self.is_users(place) for place in places):
            raise Refused(Reason.NOT_CALLABLE, _forbidden(module))

    def _may_hold(self, module_name: str, asked: str = "") -> bool:
        """Tell whether a module, imported already, is users' code, or allowed, or the C half of an allowed `asked`."""
        if self._is_allowed(module_name):
            return True
        if module_name[:1] == "_" and module_name[1:] in asked.split(".") and self._is_allowed(asked):
            return True
        file = getattr(sys.modules.get(module_name), "__file__", None)
        return isinstance(file, str) and self.is_users(file)

    def _is_allowed(self, module: str) -> bool:
        return any(module == name or module.startswith(name + ".") for name in self._allow)

    def is_users(self, file: str) -> bool:
        """Tell whether a file is users' code: under one of their folders, and no installed package."""
        real = os.path.realpath(file)
        if real.startswith(self._own):
            return False
        for root in self._roots:
            if real == root or real.startswith(os.path.join(root, "")):
                return _FOREIGN.isdisjoint(Path(real[len(root) :]).parts)
        return False


def _forbidden(module: str) -> str:
    return f"module {module} is not under the folders of users' code; start the agent with --allow {module}"


def _split(name: str) -> tuple[str, list[str]]:
    module, colon, path = name.partition(":")
    parts = path.split(".")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *parts)):
        raise Refused(Reason.NOT_CALLABLE, f"{name!r} does not name a function: write package.module:function")
    if any(part.startswith("_") for part in (*module.split("."), *parts)):
        raise Refused(Reason.NOT_CALLABLE, f"{name} is not public: names with a leading underscore cannot be called")
    return module, parts


def _import(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only when it is the module itself, or a package above it: what users' code fails to import is its failure.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise Refused(Reason.NOT_CALLABLE, f"there is no module {error.name} on this agent's path") from None
        raise


def _homes(target: Any) -> Iterator[str]:
    """Name the modules in which a callable, or what it wraps, says that it was defined."""
    for _ in range(_WRAPS):
        inner = getattr(target, "__wrapped__", None) or getattr(target, "func", None)
        home = getattr(target, "__module__", None)
        # A wrapper made by another library speaks for what it wraps, not for its own class.
        if isinstance(home, str) and (inner is None or "__module__" in getattr(target, "__dict__", ())):
            yield home
        if inner is None or not callable(inner):
            return
        target = inner


def load_value(code: bytes, *, callable_only: bool = True) -> Any:
    """Give the callable, or what else it may be, that was sent by value.

    Raises:
        Refused: it cannot be read here.
    """
    try:
        target = pickle.loads(code)
    except ModuleNotFoundError as error:
        hint = "install cloudpickle for this interpreter" if error.name == "cloudpickle" else "it is needed here"
        raise Refused(Reason.NOT_CALLABLE, f"the function needs module {error.name}: {hint}") from error
    except Exception as error:  # users' code runs here
        raise Refused(Reason.NOT_CALLABLE, f"the function cannot be read: {type(error).__name__}: {error}") from error
    if callable_only and not callable(target):
        raise Refused(Reason.NOT_CALLABLE, f"what was sent is a {type(target).__name__}, which cannot be called")
    return target


_ATTRIBUTE = "__agentd_task__"
"""As in `agentd/api/tasks/definition.py`, which this side must not import."""


def definition_of(found: object) -> Any:
    """Give what a decorated function says about itself; None for any other."""
    definition = getattr(getattr(found, "__func__", found), _ATTRIBUTE, None)
    return None if definition is None else definition.settle()


def body_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give what runs when a decorated function is an operation itself: calling it would only ask for it again."""
    definition = definition_of(function)
    if definition is None:
        return function
    body: Callable[..., Any] = definition.body
    target = getattr(function, "__self__", None)
    return body if target is None else partial(body, target)
