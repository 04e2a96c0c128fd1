"""Rows out of a database file whose tree is broken: page by page, without following the tree.

Law: every row on a page that is not broken itself is found, wherever in the file the damage is; rows that were deleted
are not, as long as the map of free pages is whole.

The format is https://www.sqlite.org/fileformat2.html, of which this reads what a journal has: pages of 4096 bytes, no
bytes reserved, auto-vacuum (so that a map tells what each page is for), tables of (NULL, blob, blob).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

PAGE_BYTES = 4096

_LEAF = 0x0D
_FREE = 2
_MAPPED = PAGE_BYTES // 5
"""Pages that one page of the map tells of, five bytes each (§1.8)."""

_PENDING_PAGE = (1 << 30) // PAGE_BYTES + 1
"""Never used by SQLite; a page of the map that would be here is the next one (§1.7)."""

_LOCAL_MOST = PAGE_BYTES - 35
_LOCAL_LEAST = (PAGE_BYTES - 12) * 32 // 255 - 23
"""How much of a cell is on its own page (§1.6)."""

Pages = Callable[[int], bytes]
"""Gives a page by its number, from 1; shorter, or empty, beyond the end."""


def rows(page_of: Pages, pages: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Give number, head and body of each row that can be found, in the order of the pages."""
    for number in range(2, pages + 1):
        page = page_of(number)
        if len(page) == PAGE_BYTES and page[0] == _LEAF and not _is_free(page_of, number):
            yield from _rows_of(page_of, page, pages)


def _is_free(page_of: Pages, number: int) -> bool:
    at = (number - 2) // (_MAPPED + 1) * (_MAPPED + 1) + 2
    at += at == _PENDING_PAGE
    place = 5 * (number - at - 1)
    return 0 <= place < PAGE_BYTES and page_of(at)[place : place + 1] == bytes([_FREE])


def _rows_of(page_of: Pages, page: bytes, pages: int) -> Iterator[tuple[int, bytes, bytes]]:
    cells = min(int.from_bytes(page[3:5], "big"), (PAGE_BYTES - 8) // 2)
    for cell in range(cells):
        at = int.from_bytes(page[8 + 2 * cell : 10 + 2 * cell], "big")
        length, at = _varint(page, at)
        number, at = _varint(page, at)
        if 0 < length <= pages * PAGE_BYTES:
            blobs = _blobs(_payload(page_of, page, at, length, pages))
            if blobs is not None:
                yield (number, *blobs)


def _payload(page_of: Pages, page: bytes, at: int, length: int, pages: int) -> bytes:
    """Collect a cell's content from its page and from those that it overflows to; shorter when the chain is broken."""
    if length <= _LOCAL_MOST:
        return page[at : at + length]
    local = _LOCAL_LEAST + (length - _LOCAL_LEAST) % (PAGE_BYTES - 4)
    local = local if local <= _LOCAL_MOST else _LOCAL_LEAST
    data = bytearray(page[at : at + local])
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while len(data) < length and 1 < following <= pages:
        more = page_of(following)
        following = int.from_bytes(more[:4], "big")
        data += more[4:]
    return bytes(data[:length])


def _blobs(record: bytes) -> tuple[bytes, bytes] | None:
    """Read a record of (NULL, blob, blob); None for any other."""
    header, at = _varint(record, 0)
    kinds: list[int] = []
    while at < header and len(kinds) < 4:
        kind, at = _varint(record, at)
        kinds.append(kind)
    if len(kinds) != 3 or kinds[0] != 0 or any(kind < 12 or kind % 2 for kind in kinds[1:]):
        return None
    head_end = header + (kinds[1] - 12) // 2
    return record[header:head_end], record[head_end : head_end + (kinds[2] - 12) // 2]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of one to nine bytes; give it and where it ends. Beyond the end everything is zero."""
    value = 0
    for place in range(9):
        byte = data[at + place] if at + place < len(data) else 0
        if place == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at + place + 1
    raise AssertionError("a ninth byte always ends it")
