"""The pages tell the truth: their commands are typed into a terminal, and say what the pages say."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.docs_rig import ROOT, Step, Terminal, free_ports, lines_of, read_page

PAGES = ("README.md", "docs/quickstart.md", "docs/configuration.md", "docs/schedulers.md")

_BESIDE = re.compile(r"^\d{4}-\d\d-\d\d \S+ (INFO|WARNING) |^note: only this device reaches ")
"""What an agent logs to the terminal that others type into, and that a device of the test is reached on loopback."""

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("curl") is None, reason="the pages' commands need bash and curl"
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_say_what_it_says(name: str) -> None:
    """Whoever follows a page from its top gets what it shows, but for times and the like."""
    text = (ROOT / name).read_text("utf-8")
    page, ports = read_page(text), free_ports(text)
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        work = Path(folder) / "agentd"
        shutil.copytree(ROOT / "examples", work / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        for file, content in page.files.items():
            for place in (work, work / "examples"):
                (place / file).write_text(content)
        terminal = Terminal(Path(folder), work, ports)
        try:
            for step in page.steps:
                came = [line for line in terminal.type(step) if not _BESIDE.search(line)]
                difference = terminal.mismatch(step, came)
                assert not difference, difference
        finally:
            terminal.close()
    assert page.steps


@pytest.mark.timeout(300)
def test_two_devices_are_paired_as_the_page_says() -> None:
    """Each device has a home and ports of its own, here on loopback; what one prints is typed on the other."""
    text = (ROOT / "docs/two-devices.md").read_text("utf-8")
    text = re.sub(r"192\.0\.2\.7|(?<=-host )0\.0\.0\.0|(?<=Comm )0\.0\.0\.0", "127.0.0.1", text)
    page = read_page(text)
    names = dict.fromkeys(step.remark.removeprefix("on ") for step in page.steps)
    assert list(names) == ["server", "phone", "office", "ann"]
    ports = {name: free_ports(text) for name in names}
    ports["ann"] = ports["office"]  # she has no agent, and asks that one
    terminals: dict[str, Terminal] = {}
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        try:
            for name in names:
                home = Path(folder) / name
                (home / "work").mkdir(parents=True)
                for file, content in page.files.items():
                    (home / "work" / file).write_text(content)
                terminals[name] = Terminal(home, home / "work", ports[name])
                terminals[name].ids = terminals["server"].ids
            for step in page.steps:
                terminal = terminals[step.remark.removeprefix("on ")]
                came = [line for line in terminal.type(step) if not _BESIDE.search(line)]
                difference = terminal.mismatch(replace(step, remark=""), came)
                assert not difference, difference
        finally:
            for terminal in terminals.values():
                terminal.close()


def _reads(command: str, expected: str, came: str, remark: str = "") -> bool:
    """Compare without a shell."""
    terminal = Terminal.__new__(Terminal)
    terminal.ids, terminal._ports = {}, {"46101": "5555"}
    return not terminal.mismatch(Step(command, expected.splitlines(), remark), lines_of(came))


@pytest.mark.parametrize(
    ("expected", "came"),
    [
        ("took 1.2 s", "\x1b[1mtook\x1b[0m   300 ms"),
        ("pid 12 at 46101", "pid 99 at 5555"),
        ("4611686018427387905 and 4611686018427387905", "341605411189668509 and 341605411189668509"),
        ("a\n…\nz", "a\nb\nc\nz"),
        ("a …z", "a b c z"),
    ],
)
def test_what_may_differ_does_not_count(expected: str, came: str) -> None:
    """Times, colours, ports, ids and what was left out may be others."""
    assert _reads("x", expected, came)


@pytest.mark.parametrize(
    ("expected", "came"),
    [
        ("9592", "9593"),
        ("4611686018427387905 and 4611686018427387905", "341605411189668509 and 341605411189668510"),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("at 46101", "at 46101"),
        ("a …z", "a b"),
    ],
)
def test_what_must_not_differ_is_seen(expected: str, came: str) -> None:
    """Another result, another id, a line more or less, or a wrong port is a difference."""
    assert not _reads("x", expected, came)


def test_a_page_is_read_as_it_is_typed() -> None:
    """Commands go over lines, remarks belong to the block below them, and named blocks are files."""
    page = read_page(
        "```python a.py\nx = 1\n```\n\n"
        "<!-- rows vary -->\n```console\n$ one \\\n    two\n1\n2\n$ start\nx is ready: y\n```\n"
    )
    assert page.files == {"a.py": "x = 1\n"}
    assert [(step.command, step.expected, step.remark) for step in page.steps] == [
        ("one     two", ["1", "2"], "rows vary"),
        ("start", ["x is ready: y"], "rows vary"),
    ]
    assert [step.stays for step in page.steps] == [False, True]
