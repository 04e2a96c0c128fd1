"""The code keeps its rules, and each rule is seen to bite."""

from __future__ import annotations

import ast
from functools import cache

import pytest
from rules import PRODUCT_RULES, TEST_RULES, Rule
from source_tree import CODE, PRODUCT, Source, sources

MOST_LINES = 450
"""Of a file of the product, of an example, of a benchmark."""
MOST_TEST_LINES = 600
"""Of a file of tests, where cases stand one after the other."""

ALL_RULES = {**PRODUCT_RULES, **TEST_RULES}
APPLIED = [
    *(pytest.param(rule, PRODUCT, id=name) for name, rule in PRODUCT_RULES.items()),
    *(pytest.param(rule, ("tests",), id=name) for name, rule in TEST_RULES.items()),
]


@cache
def _breaches(rule: Rule, source: Source) -> list[str]:
    return [f"{source.name}:{found.line}: {found.what}" for found in rule.find(source.tree)]


@pytest.mark.parametrize(("rule", "tops"), APPLIED)
def test_the_code_keeps_the_rule(rule: Rule, tops: tuple[str, ...]) -> None:
    """No file that is not exempt, with a reason, breaks the rule."""
    found = [
        breach for source in sources(*tops) if rule.excuse(source.name) is None for breach in _breaches(rule, source)
    ]
    assert not found, f"{rule.law}:\n" + "\n".join(found)


@pytest.mark.parametrize(("rule", "tops"), APPLIED)
def test_no_exemption_outlives_its_reason(rule: Rule, tops: tuple[str, ...]) -> None:
    """Every entry among the exempt still excuses something: who needs it no longer loses it."""
    used = {rule.excuse(source.name) for source in sources(*tops) if _breaches(rule, source)}
    assert set(rule.allowed) <= used


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


def test_names_say_what_a_thing_is() -> None:
    """No class and no module is called by a word that fits everything."""
    vague = ("Manager", "Handler", "Helper", "Util", "Utils")
    classes = [
        f"{source.name}:{node.lineno}: {node.name}"
        for source in sources(*PRODUCT)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith(vague)
    ]
    stems = {"utils", "util", "helpers", "common", "misc", "manager", "handlers"}
    modules = [source.name for source in sources(*PRODUCT) if source.name.rpartition("/")[2][:-3] in stems]
    assert classes + modules == []
