"""The page for operators agrees with the code, and no example is hidden."""

from __future__ import annotations

import configparser
import inspect
import re
from pathlib import Path

from agentd.daemon.settings import Settings
from cli import app
from cli.commands import BY_NAME

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")


def _service() -> configparser.SectionProxy:
    """Read the unit for systemd that stands on the page."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(PAGE.partition("```ini agentd.service\n")[2].partition("```")[0])
    return unit["Service"]


def test_the_unit_gives_running_tasks_their_time() -> None:
    """The agent alone is told to stop, and is killed only after its grace; what no new try mends is not tried again."""
    service = _service()
    assert service["KillMode"] == "mixed"
    assert float(service["TimeoutStopSec"]) > inspect.signature(Settings).parameters["grace_s"].default
    assert set(map(int, service["RestartPreventExitStatus"].split())) == {app.USAGE, app.IN_USE}
    assert f"/var/lib/{service['StateDirectory']}" == service["Environment"].removeprefix("AGENTD_STATE=")


def test_the_commands_on_the_page_are_there() -> None:
    """Each `agentd …` is a command."""
    named = re.findall(r"`(?:[^`]*bin/)?agentd ([a-z]+)", PAGE)
    assert named
    assert set(named) <= set(BY_NAME)


def test_every_example_is_in_the_list() -> None:
    """Whoever looks for one finds it on the front page of the documentation."""
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    assert [path.name for path in (ROOT / "examples").glob("*.py") if f"examples/{path.name})" not in index] == []
