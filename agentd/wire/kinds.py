"""Which message a frame of a kind holds."""

from __future__ import annotations

from agentd.wire import line_messages, lot_messages, messages

TYPES: dict[int, type[messages.Message]] = {
    int(each.kind): each
    for module in (messages, line_messages, lot_messages)
    for each in vars(module).values()
    if isinstance(each, type) and each in messages.Message.__subclasses__()
}
"""The messages by the kinds of their frames."""
