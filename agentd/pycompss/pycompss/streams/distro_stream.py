"""The classes of streams, which say what to do instead when one is made."""

from __future__ import annotations

from typing import Any

from agentd.api.decorators.errors import Unavailable


class DistroStream:
    """Not offered."""

    def __init__(self, *_args: Any, **_given: Any) -> None:
        message = f"{type(self).__name__}: streams are not offered here; pass lists of results from task to task"
        raise Unavailable(message)


class FileDistroStream(DistroStream):
    """Not offered."""


class ObjectDistroStream(DistroStream):
    """Not offered."""


class PscoDistroStream(DistroStream):
    """Not offered."""


__all__ = ["DistroStream", "FileDistroStream", "ObjectDistroStream", "PscoDistroStream"]
