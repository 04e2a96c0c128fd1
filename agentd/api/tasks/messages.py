"""What a program asks of its agent, as msgpack: written by hand, since users' processes have the standard library only.

The layout is that of https://github.com/msgpack/msgpack/blob/master/spec.md; the fields are those of the nouns in
`agentd/model/graph.py`, in order, trailing defaults left out.
"""

from __future__ import annotations

import struct
from typing import Any

Parts = list[tuple[int, "bytes | memoryview", int, int]]
"""Of an encoded value: (size, inline bytes, segment or 0, offset) of each."""
Encoded = tuple[int, bytes, "Parts | None"]
"""Codec, encoded bytes, parts."""

_U32 = struct.Struct(">BI")
_U64 = struct.Struct(">BQ")
_F64 = struct.Struct(">Bd")
_CALL = struct.Struct(">BBQBIBBBI")
"""array of n, uint64 ref, uint32 template, array of 2, codec, bin32 length."""
_ARRAY, _ARRAY32, _MAP32, _BIN32, _STR32 = 0x90, 0xDD, 0xDF, 0xC6, 0xDB
_UINT32, _UINT64, _INT64, _FLOAT64, _NIL, _FALSE, _TRUE = 0xCE, 0xCF, 0xD3, 0xCB, 0xC0, 0xC2, 0xC3
_NONE = b"\x90"
_pack_u64, _pack_call = _U64.pack, _CALL.pack


def packed(value: Any) -> bytes:
    """Write plain data: numbers, texts, bytes, None, lists, tuples, dicts.

    Raises:
        TypeError: it is anything else.
    """
    chunks: list[bytes] = []
    _pack(value, chunks.append)
    return b"".join(chunks)


def _pack(value: Any, append: Any) -> None:
    if value is None or value is True or value is False:
        append(bytes((_NIL if value is None else _TRUE if value else _FALSE,)))
    elif isinstance(value, int):
        append(_pack_u64(_UINT64, value) if value >= 0 else struct.pack(">Bq", _INT64, value))
    elif isinstance(value, float):
        append(_F64.pack(_FLOAT64, value))
    elif isinstance(value, str):
        data = value.encode("utf-8", "replace")
        append(_U32.pack(_STR32, len(data)) + data)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        append(_U32.pack(_BIN32, len(value)) + value)
    elif isinstance(value, (list, tuple)):
        append(_U32.pack(_ARRAY32, len(value)))
        for item in value:
            _pack(item, append)
    elif isinstance(value, dict):
        append(_U32.pack(_MAP32, len(value)))
        for key, item in value.items():
            _pack(key, append)
            _pack(item, append)
    else:
        raise TypeError(f"{type(value).__qualname__} is no plain data")


def packed_value(value: Encoded) -> bytes:
    """Write an encoded value, as `agentd.model.values.Payload`."""
    codec, data, parts = value
    if not parts:
        return bytes((_ARRAY | 2, codec)) + _U32.pack(_BIN32, len(data)) + data
    chunks: list[bytes | memoryview] = [bytes((_ARRAY | 3, codec)), _U32.pack(_BIN32, len(data)), data]
    chunks.append(_U32.pack(_ARRAY32, len(parts)))
    for size, inline, segment, offset in parts:
        chunks.append(bytes((_ARRAY | 4,)) + _pack_u64(_UINT64, size))
        if segment:
            chunks.append(packed(None) + packed(segment) + packed(offset))
        else:
            chunks += (_U32.pack(_BIN32, size), inline, b"\x00\x00")
    return b"".join(chunks)


def packed_task(
    ref: int,
    template: int,
    call: Encoded,
    reads: list[int],
    makes: list[int],
    after: list[int],
    groups: tuple[int, ...],
    chain: int,
) -> bytes:
    """Write a task that is asked for, as `agentd.model.graph.Spawned`."""
    more = bool(after or groups or chain)
    fields = _ARRAY | (8 if more else 5)
    if call[2]:
        head = bytes((fields,)) + _pack_u64(_UINT64, ref) + _U32.pack(_UINT32, template) + packed_value(call)
    else:
        data = call[1]
        head = _pack_call(fields, _UINT64, ref, _UINT32, template, 0x92, call[0], _BIN32, len(data)) + data
    body = head + numbers(reads) + numbers(makes)
    return body + numbers(after) + numbers(groups) + packed(chain) if more else body


def numbers(values: list[int] | tuple[int, ...]) -> bytes:
    """Write an array of numbers."""
    if not values:
        return _NONE
    if len(values) == 1:
        return b"\x91" + _pack_u64(_UINT64, values[0])
    return _U32.pack(_ARRAY32, len(values)) + b"".join([_pack_u64(_UINT64, value) for value in values])


def number(value: int) -> bytes:
    """Write a number that is not negative."""
    return _pack_u64(_UINT64, value)
