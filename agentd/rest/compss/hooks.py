"""What is to be done when an operation of COMPSs' door has ended, as the text that the journal keeps with it.

It stands where other operations have the address that is called back, and survives a restart as that does.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode

from msgspec import Struct

SCHEME = "compss:"


class Hooks(Struct, frozen=True):
    """The end of an operation: always told on stdout and in the folder of jobs, and more where that was asked for."""

    stops: bool = False
    """This agent stops, after those of `agents`."""
    agents: tuple[str, ...] = ()
    """Addresses of the user ports of other agents that are to stop."""
    notify: str = ""
    """Address that is sent an `endApplication`; empty for none."""


def written(hooks: Hooks) -> str:
    """Write hooks as one text."""
    fields = [("stop", "1")] * hooks.stops + [("agent", agent) for agent in hooks.agents]
    fields += [("notify", hooks.notify)] if hooks.notify else []
    return f"{SCHEME}?{urlencode(fields)}"


def read(text: str) -> Hooks | None:
    """Read hooks; None when the text is none of ours."""
    if not text.startswith(SCHEME):
        return None
    fields = parse_qs(text.removeprefix(SCHEME).removeprefix("?"))
    return Hooks("stop" in fields, tuple(fields.get("agent", ())), next(iter(fields.get("notify", ())), ""))
