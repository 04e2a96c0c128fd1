"""Lists of views that show themselves as tables, in a terminal and in a notebook."""

from __future__ import annotations

import html
import time
from typing import Any, Generic, TypeVar

from agentd.model.views import (
    AgentView,
    InvitationView,
    NeighbourView,
    OperationView,
    PeerView,
    ResourceView,
    TaskView,
)

T = TypeVar("T")

_COLUMNS: dict[type[Any], tuple[str, ...]] = {
    OperationView: ("id", "function", "state", "ran_on", "submitted_at", "reason"),
    TaskView: ("id", "function", "state", "host", "attempt", "seconds", "reason"),
    ResourceView: ("name", "adaptor", "state", "total", "free", "owed", "rtt_s"),
    NeighbourView: ("name", "state", "is_parent", "address", "rtt_s", "running", "refusal"),
    PeerView: ("name", "state", "functions", "max_tasks", "submit_upward", "may_stop", "paired_at", "revoked"),
    InvitationView: ("id", "role", "name", "scope", "expires_s", "invitation"),
    AgentView: ("name", "state_folder", "scheduler", "cores", "cores_free", "waiting", "running", "ready"),
}
"""What of a row is shown; the rest is there to be asked for."""
_WIDEST = 40
"""Signs of a cell in a terminal, above which it is cut; chosen."""


class Rows(list[T], Generic[T]):
    """A list of views. It prints as a table; each row is the view itself."""

    def __repr__(self) -> str:
        if not self:
            return "(none)"
        names, rows = self._cells()
        widths = [max(len(row[index]) for row in (names, *rows)) for index in range(len(names))]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (names, *rows)
        )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self:
            return "<em>none</em>"
        names, rows = self._cells()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        first = self[0]
        fields: tuple[str, ...] = getattr(first, "__struct_fields__", ("value",))
        names = list(_COLUMNS.get(type(first), fields))
        return names, [[shown(name, getattr(row, name, row)) for name in names] for row in self]


def shown(name: str, value: Any) -> str:
    """Say one field in a few words of printable text; `name` tells its unit."""
    if value is None or value == "":
        return "-"
    if name.endswith("_at"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        value = " ".join(f"{key}:{item}" for key, item in value.items()) or "-"
    text = printable(str(value))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def printable(text: str) -> str:
    """Replace what a terminal would obey (C0, C1, and the signs that reorder text) by what can be read."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
