"""The code keeps its rules, and each rule is seen to bite."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.rules import PRODUCT_RULES, TEST_RULES, Rule
from tests.architecture.source_tree import CODE, PRODUCT, sources

MOST_LINES = 450
"""Of a file of the product, of an example, of a benchmark."""
MOST_TEST_LINES = 600
"""Of a file of tests, where cases stand one after the other."""

ALL_RULES = {**PRODUCT_RULES, **TEST_RULES}
PLACES = {**dict.fromkeys(PRODUCT_RULES, PRODUCT), **dict.fromkeys(TEST_RULES, ("tests",))}
"""Top folders that each rule is for."""


@cache
def _breaches(*tops: str) -> dict[str, dict[str, list[str]]]:
    """Give what breaks each rule, by the rule's name and the file's, exempt or not."""
    found: dict[str, dict[str, list[str]]] = {name: {} for name, places in PLACES.items() if places == tops}
    for source in sources(*tops):
        tree = source.parse()
        for name, by_file in found.items():
            breaches = [f"{source.name}:{one.line}: {one.what}" for one in ALL_RULES[name].find(tree)]
            if breaches:
                by_file[source.name] = breaches
    return found


@pytest.mark.parametrize("name", ALL_RULES)
def test_the_code_keeps_the_rule(name: str) -> None:
    """No file that is not exempt, with a reason, breaks the rule."""
    rule = ALL_RULES[name]
    by_file = _breaches(*PLACES[name])[name]
    found = [breach for file, breaches in by_file.items() if rule.excuse(file) is None for breach in breaches]
    assert not found, f"{rule.law}:\n" + "\n".join(found)


@pytest.mark.parametrize("name", ALL_RULES)
def test_no_exemption_outlives_its_reason(name: str) -> None:
    """Every entry among the exempt still excuses something: who needs it no longer loses it."""
    rule = ALL_RULES[name]
    assert set(rule.allowed) <= {rule.excuse(file) for file in _breaches(*PLACES[name])[name]}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in ALL_RULES.items()])
def test_the_rule_sees_what_breaks_it(rule: Rule) -> None:
    """Each planted breach is found, and nothing is found in code that only looks like one."""
    missed = [code for code in rule.planted if not list(rule.find(ast.parse(code)))]
    wronged = [code for code in rule.innocent if list(rule.find(ast.parse(code)))]
    assert not missed
    assert not wronged


def test_no_file_grows_without_limit() -> None:
    """A file that nobody reads to its end is cut before it is finished."""
    found = [
        f"{source.name}: {lines} lines"
        for source in sources(*CODE)
        if (lines := source.text.count("\n")) > (MOST_TEST_LINES if source.name.startswith("tests/") else MOST_LINES)
    ]
    assert not found


def test_no_module_holds_whatever_had_no_place() -> None:
    """No module is called by a word that fits everything."""
    stems = {"utils", "util", "helpers", "common", "misc", "manager", "handlers"}
    assert [source.name for source in sources(*PRODUCT) if Path(source.name).stem in stems] == []
