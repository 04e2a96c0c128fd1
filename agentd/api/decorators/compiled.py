"""Functions that numba compiles, once in each worker, when they first run there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from agentd.api.decorators.commands import agent
from agentd.api.decorators.errors import DefinitionError, Unavailable
from agentd.api.tasks.definition import TaskDefinition

MODES = ("jit", "njit", "generated_jit", "vectorize", "guvectorize", "stencil", "cfunc")
"""Ways of compiling that may be asked for."""
_WITH_SIGNATURE = ("vectorize", "guvectorize", "cfunc")


def compiled(definition: TaskDefinition) -> Callable[..., Any]:
    """Give the compiled function of a task.

    Raises:
        Unavailable: numba is not installed here.
        DefinitionError: there is no such way of compiling.
    """
    return _compiled(_Key(definition))


class _Key:
    """A definition as a key: the function and how it is to be compiled."""

    def __init__(self, definition: TaskDefinition) -> None:
        self.definition = definition

    def __hash__(self) -> int:
        return hash(self.definition.function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.definition is other.definition


@functools.lru_cache(maxsize=256)
def _compiled(key: _Key) -> Callable[..., Any]:
    definition = key.definition
    options = dict(definition.options["numba"])
    mode, flags = options["mode"], dict(options.get("flags") or {})
    if isinstance(mode, dict):
        flags, mode = {**mode, **flags}, "jit"
    mode = "jit" if mode is True else str(mode)
    if mode not in MODES:
        raise DefinitionError(f"numba of task {definition.label} is True or one of {', '.join(MODES)}, not {mode!r}")
    try:
        import numba
    except ImportError as error:
        raise Unavailable(f"numba is not installed on {agent()}, and task {definition.label} needs it") from error
    signature, declaration = options.get("signature"), options.get("declaration")
    positional = [one for one in (signature, declaration) if one is not None] if mode in _WITH_SIGNATURE else []
    found: Callable[..., Any] = getattr(numba, mode)(*positional, **flags)(definition.function)
    return found
