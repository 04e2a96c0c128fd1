"""Bytes that somebody else wrote."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.unreadable import UNREADABLE


class Row(msgspec.Struct):
    """Text, numbers and rows in rows."""

    name: str
    numbers: dict[str, int]
    rows: list[msgspec.Raw] = []


@given(st.binary(max_size=64))
def test_whatever_is_read_is_read_or_unreadable(data: bytes) -> None:
    """No bytes raise anything else."""
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        for kind in (Row, str, dict[str, int], list[str]):
            with suppress(*UNREADABLE):
                decode(data, type=kind)


@pytest.mark.parametrize("data", [b'"\x80"', b"\xa1\x80", b"[" * 100_000, b"\x91" * 100_000])
def test_what_is_no_error_of_msgspec_is_unreadable_too(data: bytes) -> None:
    """Bad UTF-8 and bottomless nesting raise errors of Python."""
    decode = msgspec.json.decode if data[:1] in {b'"', b"["} else msgspec.msgpack.decode
    with pytest.raises(UNREADABLE) as found:
        decode(data)
    assert not isinstance(found.value, msgspec.MsgspecError)
