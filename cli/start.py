"""`agentd start`: the settings, then the daemon; nothing else is loaded on the way."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from agentd.daemon.settings import resolve

if TYPE_CHECKING:
    from cli.parsing import CommandLine


def run(line: CommandLine) -> int:
    """Run the agent in the foreground; gives its exit code.

    Raises:
        ConfigError: a setting is wrong.
    """
    flags: dict[str, object] = {**line.settings}
    if line.text("state") is not None:
        flags["state"] = line.text("state")
    settings = resolve(flags)
    from agentd.daemon.main import run as run_daemon  # only with settings that hold

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return run_daemon(settings)
