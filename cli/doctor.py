"""`agentd doctor`: is this device fit for an agent, and which settings hold here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentd.daemon.in_force import in_force
from agentd.daemon.settings import CONVERTERS, FILE_NAME, Settings, resolve
from agentd.model.errors import ConfigError
from cli import checks
from cli.output import print_json, print_rows
from cli.target import folder_of

if TYPE_CHECKING:
    from pathlib import Path

    from cli.checks import Check
    from cli.parsing import CommandLine


class Row(NamedTuple):
    """One setting in force."""

    name: str
    value: str
    origin: str


def run(line: CommandLine) -> int:
    """Print what was checked and what is set; exit code 2 if anything is bad.

    While an agent runs on the state folder its settings count, not those that a start would take from here.
    """
    folder = folder_of(line)
    flags: dict[str, object] = {"state": str(folder)} if line.text("state") else {}
    found: list[Check] = []
    next_start = None
    try:
        next_start = resolve(flags)
    except ConfigError as error:
        found.append(checks.bad("settings", str(error), "correct it where the message says"))
    running = settings_of_running(folder)
    settings = running or next_start
    found += checks.all_checks(settings, folder)
    if running is not None and next_start is not None:
        found += since_start(running, next_start)
    if settings is not None:
        found += [checks.warn("environment", remark, "correct its name, or unset it") for remark in settings.remarks]
    rows = [] if settings is None else settings_of(settings)
    if line.flag("json"):
        listed = [row._asdict() for row in rows]
        print_json({"checks": [check._asdict() for check in found], "running": running is not None, "settings": listed})
    else:
        print_rows(("check", "", "found", "what to do"), [tuple(check) for check in found], title="this device")
        whose = "the next start" if running is None else f"{running.hostname}, which runs here"
        short = [row._replace(origin=_briefly(row.origin)) for row in rows]
        print_rows(("setting", "value", "from"), short, title=f"settings of {whose}")
    return 2 if any(check.verdict == checks.BAD for check in found) else 0


def settings_of_running(folder: Path) -> Settings | None:
    """Give what the agent that runs on the state folder goes by; None where none does, or it left no word of that."""
    from agentd.api.places import is_running, read_ready

    try:
        return in_force(folder) if is_running(read_ready(folder) or {}) else None
    except (OSError, ConfigError):
        return None


def since_start(running: Settings, next_start: Settings) -> list[Check]:
    """Tell which settings the file gives otherwise than the agent that runs read them, where nothing else beats it."""
    changed = []
    for name in sorted(CONVERTERS):
        origins = [settings.origins.get(name, "") for settings in (running, next_start)]
        is_of_file = any(origins) and all(not origin or FILE_NAME in origin for origin in origins)
        if is_of_file and getattr(next_start, name) != getattr(running, name):
            changed.append(f"{name} = {_said(getattr(next_start, name))}")
    if not changed:
        return []
    return [checks.warn("settings", f"changed in {FILE_NAME} since the start: {', '.join(changed)}", "start it anew")]


def settings_of(settings: Settings) -> list[Row]:
    """List every setting with its value and where that came from."""
    return [
        Row(name, _said(getattr(settings, name)), settings.origins.get(name, "default")) for name in sorted(CONVERTERS)
    ]


def _briefly(origin: str) -> str:
    """Say an origin in as many signs as a table of 80 has room for."""
    _, is_of_file, line = origin.rpartition(f"{FILE_NAME}, ")
    return f"{FILE_NAME}, {line}" if is_of_file else origin.replace("environment variable ", "$")


def _said(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "-"
    return str(value)
