"""The bodies of submissions: what is called, by name or by value, and with what."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agentd.api.calls.catalogue import name_of, title_of
from agentd.api.calls.values import dumps_by_value, encode
from agentd.model.task import Constraints

_DEEPEST = 60
"""Nesting of arguments that go as JSON; the agent refuses more than 64 levels."""


def submission(
    function: str | Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    constraints: Constraints | Mapping[str, Any] | None = None,
    timeout_s: float | None = None,
    max_attempts: int = 3,
    idempotent: bool = True,
    priority: int = 0,
    name: str = "",
    on_failure: str = "FAIL",
    on_orphan: str = "STOP",
    callback: str | None = None,
    key: str | None = None,
    by_value: bool = False,
) -> dict[str, Any]:
    """Build the JSON of one operation.

    Args:
        function: `package.module:function`, or a function of this program: by name if it has one, unless `by_value`.
        args: positional arguments; as JSON where they can be said in it, else pickled (scope code).
        kwargs: named arguments, likewise.
        constraints: what it needs of a host.
        timeout_s: seconds that it may run.
        max_attempts: how often it is started at most when workers or agents are lost.
        idempotent: whether it may run again after such a loss.
        priority: higher goes before lower.
        name: for people.
        on_failure: FAIL, or RETRY: where it raises it runs again, four times in all, if it is `idempotent`.
        on_orphan: on an agent that has lost the one that gave it: STOP after a while, or KEEP its result for it.
        callback: URL that is told of the end.
        key: idempotency key: the same key with the same body is the same operation.
        by_value: send the function's code, whatever its name.

    Raises:
        TypeError: `args` is a text, whose letters nobody means.
    """
    if isinstance(args, str | bytes):
        raise TypeError(f"args is a list of arguments, not {args!r:.60}: put it into one")
    body: dict[str, Any] = _function(function, by_value)
    body |= _arguments(list(args), dict(kwargs or {}), is_code="code" in body)
    if constraints is not None:
        given = msgspec.to_builtins(constraints) if isinstance(constraints, Constraints) else dict(constraints)
        body["constraints"] = given
    options = {
        "timeout_s": (timeout_s, None),
        "max_attempts": (max_attempts, 3),
        "idempotent": (idempotent, True),
        "priority": (priority, 0),
        "name": (name, ""),
        "on_failure": (on_failure, "FAIL"),
        "on_orphan": (on_orphan, "STOP"),
        "key": (key, None),
    }
    body |= {option: value for option, (value, default) in options.items() if value != default}
    if callback is not None:
        body["callback"] = {"url": callback}
    return body


def script(source: str, file_name: str, args: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """Build the JSON of an operation that runs a program as `__main__`, with text arguments."""
    body = submission("script:main", list(args), **options)
    return body | {"function": file_name, "script": source}


def _function(function: str | Callable[..., Any], by_value: bool) -> dict[str, Any]:
    if isinstance(function, str):
        return {"function": function}
    if not callable(function):
        raise TypeError(f"{function!r} is neither a function nor the name of one ('package.module:function')")
    name = "" if by_value else name_of(function)
    if name:
        return {"function": name}
    return {"function": title_of(function), "code": as_base64(dumps_by_value(function))}


def _arguments(args: list[Any], kwargs: dict[str, Any], *, is_code: bool) -> dict[str, Any]:
    if is_json(args) and is_json(kwargs):
        return {name: value for name, value in (("args", args), ("kwargs", kwargs)) if value}
    payload = encode((tuple(args), kwargs), None, by_value=is_code)
    return {"pickle": as_base64(payload.data)}


def as_base64(data: bytes) -> str:
    """Write bytes as they stand in JSON."""
    return base64.b64encode(data).decode("ascii")


def is_json(value: Any, depth: int = 0) -> bool:
    """Tell whether JSON gives back an equal value of the same types."""
    if value is None or type(value) in {bool, str}:
        return True
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    if type(value) is float:
        return math.isfinite(value)
    if depth >= _DEEPEST:
        return False
    if type(value) is list:
        return all(is_json(item, depth + 1) for item in value)
    if type(value) is dict:
        return all(type(key) is str and is_json(item, depth + 1) for key, item in value.items())
    return False
