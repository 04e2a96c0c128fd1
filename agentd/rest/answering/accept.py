"""Content negotiation (RFC 9110 §12.5.1): which of the things that we have does a client want."""

from __future__ import annotations

from collections.abc import Sequence

ANY = "*/*"


def ranges(accept: str | None) -> list[tuple[str, float]]:
    """Read an Accept header into media ranges and their weights; no header accepts anything."""
    found = []
    for part in (accept or ANY).split(",")[:50]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((value for key, _, value in (p.partition("=") for p in parameters) if key.strip() == "q"), "1")
        found.append((name, _weight(weight)))
    return found


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def weigh(media: str, accept: list[tuple[str, float]], *, by_name_only: bool = False) -> float:
    """Say how much a media type is wanted: the most exact range that covers it decides; 0 for not at all."""
    wildcards = () if by_name_only else (media.partition("/")[0] + "/*", ANY)
    for name in (media, *wildcards):
        weights = [weight for found, weight in accept if found == name]
        if weights:
            return max(weights)
    return 0.0


def choose(offers: Sequence[str], accept: str | None, by_name_only: frozenset[str] = frozenset()) -> str | None:
    """Choose what to send; of equally wanted offers the first. Some are sent only to those who name them."""
    wanted = ranges(accept)
    best, most = None, 0.0
    for offer in offers:
        weight = weigh(offer, wanted, by_name_only=offer in by_name_only)
        if weight > most:
            best, most = offer, weight
    return best
