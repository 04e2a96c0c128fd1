"""How deep JSON text is nested, told without parsing it."""

from __future__ import annotations

_PAIRS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def is_deeper(text: bytes, cap: int) -> bool:
    """Tell whether objects and arrays are nested more than `cap` deep, in time linear in the text.

    Text that is no JSON gets an answer too: when it is false, a parser meets less than twice the cap.
    """
    if text.count(b"[") + text.count(b"{") <= cap:
        return False
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(unescaped.split(b'"')[::2])
    brackets = outside_strings.translate(_PAIRS, _OTHERS)
    for _ in range(cap):
        # Each pass takes away the innermost pairs, and so exactly one level.
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    return b"[]" in brackets or brackets.count(b"[") > cap
