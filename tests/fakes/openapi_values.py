"""Values drawn by the schemas of an OpenAPI document, from a seed: often what they allow, or nearly so."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

ODD = (
    "",
    "0",
    "-1",
    "null",
    "٣",
    "\x00",
    "a/b",
    "..",
    "%",
    "sums:increment",
    "9" * 40,
    "\u202e",
    "é",
    "1e5",
    "a" * 300,
)
LETTERS = "abcXYZ019 _-./:?#&=%~\\\"'{}[]<>é٣\u202e\U0001f600\t\n\x00\x7f"
NUMBERS = (0, 1, -1, 2, 10, 255, 2**31, 2**53, 2**63, 2**64, 2**70, -(2**63) - 1)
DEEPEST = 3


@lru_cache
def spelt(pattern: str) -> tuple[str, ...]:
    """Give texts of a regular expression, by who knows how to."""
    found: list[str] = []

    @settings(max_examples=50, database=None, derandomize=True, phases=[Phase.generate])
    @given(st.from_regex(pattern, fullmatch=True))
    def note(text: str) -> None:
        found.append(text)

    note()
    return tuple(found)


class Schemas:
    """Draws values by the schemas of one document."""

    def __init__(self, document: dict[str, Any], chance: random.Random) -> None:
        self._known = document.get("components", {}).get("schemas", {})
        self._chance = chance

    def text(self) -> str:
        """Draw any text, short ones and odd ones."""
        chance = self._chance
        return chance.choice(ODD) if chance.random() < 0.4 else "".join(chance.choices(LETTERS, k=chance.randrange(12)))

    def anything(self, depth: int = DEEPEST) -> Any:
        """Draw any JSON."""
        chance = self._chance
        kind = chance.randrange(8 if depth else 6)
        if kind == 6:
            return [self.anything(depth - 1) for _ in range(chance.randrange(4))]
        if kind == 7:
            return {self.text(): self.anything(depth - 1) for _ in range(chance.randrange(4))}
        return (None, True, chance.choice(NUMBERS), chance.uniform(-1e9, 1e9), self.text(), self.text())[kind]

    def value(self, schema: dict[str, Any], depth: int = DEEPEST) -> Any:
        """Draw what a schema allows, as far as it is told by type, choice, pattern and bounds; one in 20 is not."""
        chance = self._chance
        if chance.random() < 0.05:
            return self.anything(depth)
        if "$ref" in schema:
            return self.value(self._known[schema["$ref"].rpartition("/")[2]], depth)
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self.value(chance.choice(schema[several]), depth)
        if "enum" in schema or "const" in schema:
            return chance.choice(schema.get("enum", [schema.get("const")]))
        draw = self._by_type.get(schema.get("type", ""))
        return self.anything(depth) if draw is None else draw(self, schema, depth)

    def _text(self, schema: dict[str, Any], _: int) -> Any:
        if "pattern" in schema:
            return self._chance.choice(spelt(schema["pattern"]))
        return self.text()[: schema.get("maxLength")] or "x" * schema.get("minLength", 0)

    def _number(self, schema: dict[str, Any], _: int) -> Any:
        least = schema.get("minimum", schema.get("exclusiveMinimum", -(2**70)))
        most = schema.get("maximum", schema.get("exclusiveMaximum", 2**70))
        edges = [number for number in (*NUMBERS, least, most) if least <= number <= most]
        if self._chance.random() < 0.5:
            return self._chance.choice(edges)
        return self._chance.randint(int(least), int(min(most, least + 1000)))

    def _list(self, schema: dict[str, Any], depth: int) -> Any:
        if not depth:
            return []
        count = self._chance.randrange(schema.get("minItems", 0), 4)
        return [self.value(schema.get("items", {}), depth - 1) for _ in range(count)]

    def _object(self, schema: dict[str, Any], depth: int) -> Any:
        fields, needed = schema.get("properties", {}), schema.get("required", [])
        if not fields:
            return self.anything(1)
        share = self._chance.choice((0.1, 0.5, 1.0))
        return {
            name: self.value(one, max(depth - 1, 0))
            for name, one in fields.items()
            if name in needed or (depth and self._chance.random() < share)
        }

    _by_type: ClassVar[dict[str, Callable[..., Any]]] = {
        "string": _text,
        "integer": _number,
        "number": _number,
        "boolean": lambda self, *_: self._chance.random() < 0.5,
        "null": lambda *_: None,
        "array": _list,
        "object": _object,
    }
