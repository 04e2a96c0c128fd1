"""The depth of JSON, told without parsing it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.rest.gate.depth import is_deeper


def depth_of(value) -> int:
    """Count the levels of a value, the slow way."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


nested = st.recursive(
    st.integers() | st.text(st.sampled_from('[]{}"\\ua'), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.sampled_from('[]{}"\\'), max_size=4), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(value=nested, cap=st.integers(0, 8))
def test_it_is_what_a_parser_would_count(value, cap):
    """Whatever stands in strings and names, the answer is that of counting the parsed value."""
    assert is_deeper(json.dumps(value).encode(), cap) == (depth_of(value) > cap)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_what_is_never_closed_is_deep(opening):
    """A parser would go down before it notices that the end is missing."""
    assert is_deeper(opening * 1000, 64)


def test_many_brackets_side_by_side_are_not_deep():
    """Width is no depth."""
    assert not is_deeper(b"[" + b"[],{}," * 100_000 + b"[]]", 2)


@given(text=st.binary(max_size=50))
def test_anything_gets_an_answer(text):
    """Rubbish is judged too, and left to the parser."""
    assert is_deeper(text, 64) is False
