"""How many values a task gives back: as it is said, or found by looking at the function."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.expressions import from_environment, number_at_call, variable
from agentd.api.decorators.parameters import is_specification, parameter_of
from agentd.api.tasks.definition import Parameter, TaskDefinition

Returns = int | Parameter | tuple[Parameter, ...] | Callable[..., int] | None
Later = Callable[[TaskDefinition], None]
MOST = 100_000
"""Values of one task; chosen: each of them is a future in the caller."""


def returns_of(given: Any, function: Callable[..., Any], of: str) -> tuple[Returns, Later | None]:
    """Read `returns` of task `of`: what is known now, and what works out the rest before the first call.

    Raises:
        DefinitionError: it cannot be understood.
    """
    where = f"returns of task {of}"
    if given is None or (isinstance(given, bool | int | str | tuple | list) and not given):
        return None, _look
    if isinstance(given, bool):
        return 1, None
    if isinstance(given, int):
        return _counted(given, where), None
    if isinstance(given, str):
        return _from_text(given.strip(), function, where)
    if is_specification(given):
        return parameter_of(given, "returns", of), None
    if isinstance(given, tuple | list):
        return _counted(len(given), where), None
    return 1, None


def _counted(count: int, where: str) -> int:
    if not 1 <= count <= MOST:
        raise DefinitionError(f"{where}: {count} is no number of values; give 1 to {MOST}")
    return count


def _from_text(text: str, function: Callable[..., Any], where: str) -> tuple[Returns, Later | None]:
    if text.isdecimal():
        return _counted(int(text), where), None
    name = variable(text)
    if name is not None:
        return None, _Environment(name, where)
    if isinstance(getattr(builtins, text, None), type):
        return 1, None
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    compute = number_at_call(text, getattr(function, "__globals__", {}), where)

    def at_call(arguments: Mapping[str, Any]) -> int:
        return _counted(int(compute(arguments)), where)

    return at_call, None


class _Environment:
    """Takes the number from an environment variable."""

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._where = where

    def __call__(self, definition: TaskDefinition) -> None:
        """Set it, or have each call say what is wrong: where a task only runs its caller has counted already.

        Raises:
            DefinitionError: the number is none of values.
        """
        text = from_environment(self._name)
        if text is not None and text.isdecimal():
            definition.returns = _counted(int(text), self._where)
            return
        words = f"{self._where}: environment variable {self._name} holds no number: {text!r}"

        def at_call(_: Mapping[str, Any]) -> int:
            raise DefinitionError(words)

        definition.returns = at_call


def _look(definition: TaskDefinition) -> None:
    """Find out by the annotation, or by the return statements, how many values there are."""
    function = inspect.unwrap(definition.function)
    annotations = getattr(function, "__annotations__", {})
    if "return" in annotations:
        definition.returns = _annotated(annotations["return"])
    else:
        definition.returns = _by_statements(function)


def _annotated(said: Any) -> int | None:
    if isinstance(said, str):
        return _annotated_text(said)
    if said is None or said is type(None) or getattr(said, "__name__", "") in {"NoReturn", "Never"}:
        return None
    if isinstance(said, tuple | list):  # -> (int, str), as many programs write it
        return _elements(list(said), ...)
    if get_origin(said) is tuple:
        return _elements(list(get_args(said)), ...)
    return 1


def _annotated_text(said: str) -> int | None:
    try:
        tree = ast.parse(said.strip(), mode="eval").body
    except SyntaxError:
        return 1
    match tree:
        case ast.Constant(value=None) | ast.Name(id="NoReturn" | "Never"):
            return None
        case ast.Subscript(value=ast.Name(id="tuple" | "Tuple"), slice=inner):
            return _elements(inner.elts if isinstance(inner, ast.Tuple) else [inner], ...)
        case ast.Subscript(value=ast.Attribute(attr="Tuple"), slice=inner):
            return _elements(inner.elts if isinstance(inner, ast.Tuple) else [inner], ...)
        case ast.Tuple(elts=kinds) | ast.List(elts=kinds):
            return _elements(kinds, ...)
    return 1


def _elements(kinds: list[Any], dots: Any) -> int:
    is_open = any(kind is dots or (isinstance(kind, ast.Constant) and kind.value is dots) for kind in kinds)
    return 1 if is_open or not kinds else len(kinds)


def _by_statements(function: Callable[..., Any]) -> int | None:
    """Count by the return statements: a tuple of one length wherever there is one counts as that many values."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return 1  # a value that nobody wants costs little, one that is lost costs the program
    counts = {_values(node) for node in _own_returns(tree.body[0])} - {0}
    if not counts:
        return None
    return counts.pop() if len(counts) == 1 else 1


def _own_returns(top: ast.AST) -> list[ast.Return]:
    """Find the return statements of a function, those of functions inside of it left out."""
    if not isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef):  # a lambda
        return [ast.Return(value=ast.Name(id="value"))]
    found, left = [], list(top.body)
    while left:
        node: ast.AST = left.pop()
        if isinstance(node, ast.Return):
            found.append(node)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            left.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))
            left.extend(getattr(node, "handlers", ()))
            left.extend(getattr(node, "cases", ()))
    return found


def _values(statement: ast.Return) -> int:
    match statement.value:
        case None | ast.Constant(value=None):
            return 0
        case ast.Tuple(elts=elements) if elements and not any(isinstance(one, ast.Starred) for one in elements):
            return len(elements)
    return 1
