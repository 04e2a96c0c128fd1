"""Documents changed at random places, for laws that hold of any text: a seed gives the same documents again.

AGENTD_FUZZ_DOCUMENTS says how many are tried in all (4,000,000 takes minutes).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence

DOCUMENTS = int(os.environ.get("AGENTD_FUZZ_DOCUMENTS", "100000"))

XML_TOKENS = (
    *(b"<", b">", b"/", b"&", b'"', b"]]>", b"<!--", b"<![CDATA[", b"<!DOCTYPE Project>", b"&#0;", b"&x;"),
    *(b"&#x10FFFF;", b"<Type>", b"</Type>", b"<Project>", b"<Adaptor Name='a'>", b"<Batch/>", b"<Ports/>"),
    *(b"<Processor Name='p'/>", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\x00", b"-1", b"1e400", b"9" * 20),
    *(b"NaN", b"0", b"beta", b'<?xml version="1.0" encoding="utf-7"?>'),
)
JSON_TOKENS = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b'\\u0000"', b'\\ud800"', b"\xff", b"\xed\xa0\x80", b"\x00"),
    *(b"null", b"true", b"-1", b"1e400", b"1.5", b"9" * 20, b"9" * 5000, b"NaN", b"-0", b'""', b"{}", b"[" * 40),
    *(b'"x":1,', b'"key":"\xe2\x80\xae",', b'"function":"a:b",', b'"__proto__":{},', b"\xef\xbb\xbf"),
)


def changed(data: bytes, tokens: Sequence[bytes], chance: random.Random) -> bytes:
    """Change a document at one to six places: put in, take out, repeat, flip, cut off, move."""
    for _ in range(1 + int(chance.random() ** 2 * 6)):
        start, length = int(chance.random() * len(data)), int(chance.random() * 80)
        head, piece, tail = data[:start], data[start : start + length], data[start + length :]
        match chance.randrange(9):
            case 0 | 1:
                data = head + chance.choice(tokens) + data[start:]
            case 2 | 3:
                data = head + chance.choice(tokens) + tail
            case 4:
                data = head + tail
            case 5:
                data = head + piece + piece + tail
            case 6:
                data = head + bytes(byte ^ 1 << chance.randrange(8) for byte in piece[:1]) + data[start + 1 :]
            case 7:
                target = chance.randrange(len(tail) + 1)
                data = head + tail[:target] + piece + tail[target:]
            case _:
                data = head if chance.random() < 0.2 else data[:start] + chance.randbytes(1) + data[start:]
    return data


def outcomes(
    read: Callable[[bytes], BaseException | None], documents: Iterator[bytes], count: int
) -> tuple[int, list[BaseException]]:
    """Read so many documents; give how many were accepted, and with what a few of the others were refused.

    `read` gives the refusal, or None; what it raises is a fault, told with the document.
    """
    accepted, refusals = 0, []
    for number in range(count):
        document = next(documents)
        try:
            refusal = read(document)
        except BaseException as error:
            error.add_note(f"document {number}: {document!r}")
            raise
        if refusal is None:
            accepted += 1
        elif number % 50 == 0:
            refusals.append(refusal)
    return accepted, refusals
