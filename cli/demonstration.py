"""`agentd demo`: hands over to the demo, which is loaded only now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.parsing import CommandLine


def run(line: CommandLine) -> int:
    """Run the demo; gives its exit code."""
    from cli.demo import run as run_demo  # loads NumPy and more, where they are installed

    output = line.text("output")
    return run_demo(json=line.flag("json"), output=Path(output) if output else None, keep=line.flag("keep"))
