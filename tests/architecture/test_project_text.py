"""The project speaks of the product alone, and what its pages point at is there."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest

from tests.architecture.source_tree import PRODUCT, ROOT, files, sources

FOREIGN = {
    "a path of the machine that it was written on": r"(?<![\w.])/(?:[w]ork|[f]arm)(?=/|\b(?!\w))",
    "a tool of the place that it was written at": r"\b[f]arm-\w+",
    "a folder outside of the project": r"\.\./[s]hared\b",
    "a page that readers do not have": r"\b(?:[D]ESIGN|[S]TYLE|[h]otpath|[p]romises|compss-[a]gents)\.md|\b[s]pec/",
    "work that is not done": r"\b(?:T[O]DO|F[I]XME|X[X]X)\b",
}
"""What must not be there, and how to see it; a class of one letter keeps a pattern from finding itself."""

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _texts() -> list[tuple[str, str]]:
    found = []
    for path in files():
        try:
            found.append((path.relative_to(ROOT).as_posix(), path.read_text("utf-8")))
        except UnicodeDecodeError:  # a picture, a vector
            continue
    return found


@pytest.mark.parametrize("what", FOREIGN)
def test_the_text_speaks_of_the_product_alone(what: str) -> None:
    """Nothing that a reader of the project meets leads to a place that he does not have."""
    pattern = re.compile(FOREIGN[what])
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in _texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"{what}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of the machine that it was written on", "see /wor" + "k/main"),
        ("a path of the machine that it was written on", "in /far" + "m"),
        ("a tool of the place that it was written at", "run far" + "m-bench"),
        ("a folder outside of the project", "../sha" + "red/x"),
        ("a page that readers do not have", "as spe" + "c/interfaces.md says"),
        ("a page that readers do not have", "DESI" + "GN.md"),
        ("work that is not done", "# TO" + "DO: later"),
    ],
)
def test_foreign_text_would_be_seen(what: str, text: str) -> None:
    """Each pattern finds an instance of what it is for."""
    assert re.search(FOREIGN[what], text)


@pytest.mark.parametrize("text", ["/workers/inside", "a/work/b", "homework", "/v1/working", "specific/"])
def test_our_own_words_stay_allowed(text: str) -> None:
    """No pattern is so wide that it bars the product's own words."""
    assert not any(re.search(pattern, text) for pattern in FOREIGN.values())


def _pages() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


def test_links_of_the_pages_lead_somewhere() -> None:
    """Every link from a page to a file of the project finds that file."""
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in _pages()
        for target in LINK.findall(page.read_text("utf-8"))
        if not re.match(r"[a-z]+:|#", target) and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert not broken


def test_decisions_are_told_in_one_form() -> None:
    """A decision says where it came from, what it is, what follows, and what would overturn it, on about one page."""
    wanted = ["## Context", "## Decision", "## Consequences", "## What would change our mind"]
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert pages
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text("utf-8")
        assert [line for line in text.splitlines() if line.startswith("## ")] == wanted, page.name
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert len(text.split()) < 700, page.name


def test_code_that_the_architecture_names_is_there() -> None:
    """The page on the architecture tells of modules that exist."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"`((?:agentd|cli|schedulers|resources_xml|tests|docs)/[\w./-]*)`", page))
    assert named, "the page names no module at all"
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_the_architecture_is_a_map() -> None:
    """Every folder of code is told of, and where modules are listed with their laws, all of the folder are."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    told = set(
        re.findall(r"`((?:agentd|cli|schedulers|resources_xml)/[\w./-]*/|cli/|schedulers/|resources_xml/)`", page)
    )
    folders = {f"{Path(source.name).parent}/" for source in sources(*PRODUCT)} - {"agentd/"}
    # what stands under other names for programs of others has its shape from them
    assert not {folder for folder in folders if not folder.startswith("agentd/pycompss/")} - told
    listed = re.findall(r"^\*\*`([\w/]+/)`\*\*.*\n\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert listed
    for folder, table in listed:
        modules = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
        assert set(re.findall(r"^\| `(\w+\.py)` ", table, re.MULTILINE)) == modules, folder


def test_the_glossary_is_in_order() -> None:
    """A word is found at once: each table goes by the alphabet, and no word is explained twice."""
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    tables = [re.findall(r"^\| \*\*([^|*]+)\*\*", part, re.MULTILINE) for part in page.split("\n## ")]
    words = list(chain.from_iterable(tables))
    assert len(words) > 30
    assert len(set(words)) == len(words)
    assert all(table == sorted(table, key=str.lower) for table in tables)
