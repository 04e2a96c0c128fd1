"""Not there: distributed data sets. Importing works, using says what to do."""

from __future__ import annotations

from typing import Any, NoReturn

from agentd.api.decorators.errors import Unavailable


class DDS:
    """Not offered."""

    def __init__(self, *_args: Any, **_given: Any) -> None:
        _complain()


def _complain() -> NoReturn:
    raise Unavailable("distributed data sets are not offered here: call tasks over lists, or use dislib's arrays")


__all__ = ["DDS"]
