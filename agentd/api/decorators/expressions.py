"""Small expressions over the arguments of a call: `"2 * n"`, `"len(blocks)"`, `"$CORES"`; read, never executed as code.

Law: an expression names values, computes with them and calls a few harmless functions; it assigns nothing, imports
nothing and reaches nothing that begins with an underscore.
"""

from __future__ import annotations

import ast
import math
import operator
import os
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from agentd.api.decorators.errors import DefinitionError

LONGEST = 1000
"""Characters of an expression, and bits that a power may have; chosen: far above what anybody writes."""
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))\Z")

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{function.__name__: function for function in (abs, bool, float, int, len, max, min, round, str, sum)},
    "ceil": math.ceil,
    "floor": math.floor,
}


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > LONGEST:
        raise ValueError("the power is too large")
    return base**exponent


_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
_PARTS = (ast.expr_context, ast.boolop, *_BINARY, *_COMPARE, *_UNARY)
"""What stands in expressions and is none."""


def variable(text: str) -> str | None:
    """Give NAME of `$NAME` or `${NAME}`; None for any other text."""
    found = _VARIABLE.match(text.strip())
    return None if found is None else found[1] or found[2]


def from_environment(name: str) -> str | None:
    """Give an environment variable; None where it is not set, or empty."""
    return os.environ.get(name) or None


def parsed(text: str, where: str) -> ast.expr:
    """Read an expression.

    Raises:
        DefinitionError: it is none, or has in it what is not allowed.
    """
    try:
        if len(text) > LONGEST:
            raise ValueError(f"longer than {LONGEST} characters")
        tree = ast.parse(text.strip(), mode="eval").body
        for node in ast.walk(tree):
            _check(node)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DefinitionError(f"{where}: {text!r} is no expression that can be worked out: {error}") from None
    return tree


def _check(node: ast.AST) -> None:
    if type(node) not in _MEANINGS and not isinstance(node, _PARTS):
        raise ValueError(f"{type(node).__name__} is not allowed here")
    named = getattr(node, "attr", getattr(node, "id", ""))
    if named.startswith("_"):
        raise ValueError(f"{named} begins with an underscore")
    if isinstance(node, ast.Call) and (
        node.keywords or not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS
    ):
        raise ValueError(f"only {', '.join(sorted(_FUNCTIONS))} can be called")


def worked_out(tree: ast.expr, *scopes: Mapping[str, Any]) -> Any:
    """Work out an expression; a name is looked up in the scopes, in order.

    Raises:
        NameError: a name is in none of them.
        Exception: whatever computing with these values raises.
    """

    def again(inner: ast.expr) -> Any:
        return _MEANINGS[type(inner)](inner, again, scopes)

    return again(tree)


_Again = Callable[[ast.expr], Any]
_Scopes = tuple[Mapping[str, Any], ...]


def _conjoined(tree: Any, again: _Again, _scopes: _Scopes) -> bool:
    return (all if isinstance(tree.op, ast.And) else any)(again(value) for value in tree.values)


def _compared(tree: Any, again: _Again, _scopes: _Scopes) -> bool:
    sides = [again(tree.left), *map(again, tree.comparators)]
    return all(_COMPARE[type(how)](a, b) for how, (a, b) in zip(tree.ops, pairwise(sides), strict=True))


_MEANINGS: dict[type, Callable[[Any, _Again, _Scopes], Any]] = {
    ast.Constant: lambda tree, _again, _scopes: tree.value,
    ast.Name: lambda tree, _again, scopes: _looked_up(tree.id, scopes),
    ast.BinOp: lambda tree, again, _scopes: _BINARY[type(tree.op)](again(tree.left), again(tree.right)),
    ast.UnaryOp: lambda tree, again, _scopes: _UNARY[type(tree.op)](again(tree.operand)),
    ast.BoolOp: _conjoined,
    ast.Compare: _compared,
    ast.IfExp: lambda tree, again, _scopes: again(tree.body) if again(tree.test) else again(tree.orelse),
    ast.Subscript: lambda tree, again, _scopes: again(tree.value)[again(tree.slice)],
    ast.Attribute: lambda tree, again, _scopes: getattr(again(tree.value), tree.attr),
    ast.Call: lambda tree, again, _scopes: _FUNCTIONS[tree.func.id](*map(again, tree.args)),
    ast.List: lambda tree, again, _scopes: list(map(again, tree.elts)),
    ast.Tuple: lambda tree, again, _scopes: tuple(map(again, tree.elts)),
}
"""What each kind of expression gives."""


def _looked_up(name: str, scopes: tuple[Mapping[str, Any], ...]) -> Any:
    for scope in scopes:
        if name in scope:
            return scope[name]
    raise NameError(f"there is no {name} among the arguments of the call or in the module")


def number_at_call(text: str, module: Mapping[str, Any], where: str) -> Callable[[Mapping[str, Any]], int | float]:
    """Give what works out a number from a call's arguments, by name, and the globals of the task's module."""
    tree = parsed(text, where)

    def at_call(arguments: Mapping[str, Any]) -> int | float:
        try:
            value = worked_out(tree, arguments, module)
            if isinstance(value, str):
                value = float(value) if "." in value else int(value)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"it is the {type(value).__name__} {value!r}")
        except Exception as error:  # the arguments' own code runs here
            raise DefinitionError(f"{where}: {text!r} gives no number: {error}") from error
        return value

    return at_call
