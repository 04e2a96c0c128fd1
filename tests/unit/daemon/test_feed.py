"""What a watcher that comes back is told of what it missed."""

from __future__ import annotations

import asyncio

import msgspec

from agentd.daemon.showing.feed import REMEMBERED, Feed


async def _missed(feed: Feed, after: int, count: int) -> list[tuple[int, str, dict[str, object]]]:
    following = feed.follow(after)
    found = [await anext(following) for _ in range(count)]
    await following.aclose()
    return [(change.id, change.topic, msgspec.json.decode(change.data)) for change in found]


def test_ends_that_were_told_together_are_changes_of_their_own() -> None:
    """Each has its number, and one who has seen the first of them is told the others."""
    feed = Feed(dict)
    feed.publish("worker", "w", {"state": "lost"})
    feed.publish_ends([(7, "done"), (8, "failed"), (9, "done")])
    feed.publish_ends([])
    feed.publish("operation", "10", {"state": "cancelling"})
    told = asyncio.run(_missed(feed, 2, 3))
    assert told == [
        (3, "operation", {"subject": "8", "state": "failed"}),
        (4, "operation", {"subject": "9", "state": "done"}),
        (5, "operation", {"subject": "10", "state": "cancelling"}),
    ]


def test_no_more_is_remembered_than_may_be() -> None:
    """Also where very many ended at once: the newest are told, and who missed more begins with what is there now."""
    feed = Feed(dict)
    feed.publish("worker", "w", {})
    feed.publish_ends([(number, "done") for number in range(1, 3 * REMEMBERED)])
    last = 3 * REMEMBERED
    assert [one[0] for one in asyncio.run(_missed(feed, last - REMEMBERED, REMEMBERED))] == [
        *range(last - REMEMBERED + 1, last + 1)
    ]
    assert asyncio.run(_missed(feed, last - REMEMBERED - 1, 1))[0][1] == "snapshot"
    assert len(feed._recent) == 1


def test_who_watches_is_told_of_each_end() -> None:
    """Of all that ended at once, not only of as many as are remembered."""

    async def watch() -> list[int]:
        feed = Feed(dict)
        following = feed.follow(None)
        await anext(following)
        feed.publish_ends([(7, "done"), (8, "done")])
        return [(await anext(following)).id for _ in range(2)]

    assert asyncio.run(watch()) == [1, 2]
