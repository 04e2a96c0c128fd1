"""Configuration files of schedulers: both forms, what has no effect, and what cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulers.configuration import LIMIT_CHARACTERS, Configuration, ConfigurationError, read


def test_json_gives_keyword_arguments() -> None:
    """Dashes in names are underscores, as everywhere."""
    assert read('{"alpha": 1.5, "patience-s": 2}') == Configuration({"alpha": 1.5, "patience_s": 2})


def test_properties_give_the_same() -> None:
    """Comments and empty lines are passed over; `=` and `:` both separate."""
    text = "# prices\n! too\n\nalpha = 1.5\npatience-s: 2\neager=true\nname=a=b\n"
    assert read(text).values == {"alpha": 1.5, "patience_s": 2, "eager": True, "name": "a=b"}


def test_what_belongs_to_a_planner_of_graphs_is_named() -> None:
    """A file of the field's multi-objective scheduler is understood, and what it cannot do here is said."""
    found = read("optimization.parameter=TIME\nalpha=2\n")
    assert found.values == {"alpha": 2}
    assert found.notes == ("optimization.parameter: there is no planner of whole graphs here",)


def test_a_list_of_placements_is_named() -> None:
    """So is a file of the predefined scheduler."""
    found = read('[{"taskId": 1, "resource": "a"}]')
    assert found.values == {}
    assert "predefined" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is no JSON"),
        ('{"alpha": [1]}', "alpha: write a number or a text, not list"),
        ("alpha", "line 1: write key = value"),
        ("\n = 3", "line 2: write key = value"),
        ("x" * (LIMIT_CHARACTERS + 1), "more than"),
        ("[" * 60_000, "it is no JSON"),
    ],
)
def test_what_cannot_be_read_says_where(text: str, words: str) -> None:
    """The message names the line or the key."""
    with pytest.raises(ConfigurationError, match=words):
        read(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No file ends in another error."""
    try:
        found = read(text)
    except ConfigurationError:
        return
    assert isinstance(found.values, dict)
