"""Which part of a value cannot be pickled is named so that a person can find it."""

from __future__ import annotations

from typing import Any

from agentd.api.tasks.culprits import can_pickle, innermost


def test_the_innermost_element_is_named_with_its_type() -> None:
    """Through lists, dictionaries and attributes."""
    value = [1, {"open": lambda: 0}]
    assert innermost("the result", value, can_pickle) == "the result[1]['open'] (a function)"


def test_the_way_to_what_lies_deep_is_cut() -> None:
    """A thousand lists in each other would fill the screen with brackets."""
    value: Any = lambda: 0  # noqa: E731 - nothing that can be pickled
    for _ in range(300):
        value = [value]
    said = innermost("the result", value, can_pickle)
    assert said.startswith("the result[0][0]")
    assert said.endswith("… (a function)")
    assert len(said) < 150
