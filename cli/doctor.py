"""`agentd doctor`: is this device fit for an agent, and which settings hold here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentd.daemon.settings import CONVERTERS, Settings, resolve
from agentd.model.errors import ConfigError
from cli import checks
from cli.output import print_json, print_rows
from cli.target import folder_of

if TYPE_CHECKING:
    from cli.checks import Check
    from cli.parsing import CommandLine


class Row(NamedTuple):
    """One setting in force."""

    name: str
    value: str
    origin: str


def run(line: CommandLine) -> int:
    """Print what was checked and what is set; exit code 2 if anything is bad."""
    flags: dict[str, object] = {"state": str(folder_of(line))} if line.text("state") else {}
    rows: list[Row] = []
    found: list[Check] = []
    try:
        settings = resolve(flags)
    except ConfigError as error:
        found.append(checks.bad("settings", str(error), "correct it where the message says"))
        settings = None
    found += checks.all_checks(settings, folder_of(line))
    if settings is not None:
        rows = settings_of(settings)
        found += [checks.warn("environment", remark, "correct its name, or unset it") for remark in settings.remarks]
    if line.flag("json"):
        print_json({"checks": [check._asdict() for check in found], "settings": [row._asdict() for row in rows]})
    else:
        print_rows(("check", "", "found", "what to do"), [tuple(check) for check in found], title="this device")
        print_rows(("setting", "value", "from"), rows, title="settings")
    return 2 if any(check.verdict == checks.BAD for check in found) else 0


def settings_of(settings: Settings) -> list[Row]:
    """List every setting with its value and where that came from."""
    return [
        Row(name, _said(getattr(settings, name)), settings.origins.get(name, "default")) for name in sorted(CONVERTERS)
    ]


def _said(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "-"
    return str(value)
