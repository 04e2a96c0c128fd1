"""Documents changed at random places, for laws that hold of any text.

AGENTD_FUZZ_EXAMPLES sets how many are tried.
"""

import os

from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("AGENTD_FUZZ_EXAMPLES", "300"))
TOKENS = [
    *(
        b"<",
        b">",
        b"/",
        b"&",
        b'"',
        b"]]>",
        b"<!--",
        b"<![CDATA[",
        b"<!DOCTYPE Project>",
        b"&#0;",
        b"&x;",
        b"&#x10FFFF;",
    ),
    *(b"<Type>", b"</Type>", b"<Project>", b"<Adaptor Name='a'>", b"<Batch/>", b"<Ports/>", b"<Processor Name='p'/>"),
    *(
        b"\xff",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
        b"\x00",
        b"-1",
        b"1e400",
        b"99999999999999999999",
        b"NaN",
        b"0",
        b"beta",
    ),
    b'<?xml version="1.0" encoding="utf-7"?>',
]
places = st.floats(0, 1, exclude_max=True)
edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "repeat", "flip", "cut", "move"]),
        places,
        places,
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6)),
    ),
    min_size=1,
    max_size=6,
)


def mutated(data, changes):
    """Apply edits at relative places of the data."""
    for kind, first, second, token in changes:
        start, length = int(first * len(data)), int(second * 80)
        piece = data[start : start + length]
        head, tail = data[:start], data[start + length :]
        if kind == "insert":
            data = data[:start] + token + data[start:]
        elif kind == "delete":
            data = head + tail
        elif kind == "repeat":
            data = head + piece + piece + tail
        elif kind == "flip":
            data = head + bytes(byte ^ 0x20 for byte in piece[:1]) + data[start + 1 :]
        elif kind == "cut":
            data = head
        else:
            target = int(second * len(tail)) if tail else 0
            data = head + tail[:target] + piece + tail[target:]
    return data
