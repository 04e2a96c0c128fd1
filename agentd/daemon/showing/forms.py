"""The forms in which a recorded value can be read: JSON, a pickle, bytes.

Law: what is shown as JSON is JSON. Who ran a task wrote what is in its value, and that may be a neighbour that lies.
"""

from __future__ import annotations

import json
import pickle
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from agentd.model.errors import RequestError
from agentd.model.values import Codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.model.values import Payload

INLINE_BYTES = 16 << 10
"""A JSON result up to this size is shown with its operation (chosen: a screenful)."""

_READ = msgspec.json.Decoder(msgspec.Raw).decode


def inline_of(value: Payload) -> bytes | None:
    """Give the JSON that is shown with an operation, where it is short."""
    said = _said(value)
    return said if said is not None and len(said) <= INLINE_BYTES and _is_json(said) else None


def json_of(value: Payload) -> bytes | None:
    """Give the JSON of a value, where it has any."""
    said = _said(value)
    return said if said is not None and _is_json(said) else None


def pickle_of(value: Payload) -> Callable[[], bytes] | None:
    """Give what gives the pickle of a value; for plain data it is written there, since there is nothing to unpickle."""
    if value.parts:
        return None
    if value.codec == Codec.NONE:
        return partial(pickle.dumps, None, 5)
    if value.codec == Codec.BYTES:
        return partial(pickle.dumps, value.data, 5)
    if value.codec == Codec.JSON:
        return partial(_pickled, value.data)
    if value.codec == Codec.PICKLE:
        return partial(bytes, value.data)
    if value.codec == Codec.BOTH:
        return partial(bytes, memoryview(value.data)[4 + _json_bytes(value) :])
    return None


def _said(value: Payload) -> bytes | None:
    if value.codec == Codec.JSON:
        return value.data
    if value.codec == Codec.NONE:
        return b"null"
    if value.codec == Codec.BOTH:
        return value.data[4 : 4 + _json_bytes(value)]
    return None


def _json_bytes(value: Payload) -> int:
    return int.from_bytes(value.data[:4], "big")


def _is_json(said: bytes) -> bool:
    """Tell whether these bytes are one JSON value: else they would say more, or less, of what they are put into."""
    try:
        _READ(said)
        if not said.isascii():
            said.decode()  # the reader looks at structure alone
    except (ValueError, RecursionError):
        return False
    return True


def _pickled(said: bytes) -> bytes:
    try:
        return pickle.dumps(json.loads(said), 5)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"whoever made this result sent JSON that cannot be read: {error}", status=406) from error
