"""Coroutine functions that agents are asked to run; `sums` loads at once, as tests that kill agents at work need."""

from __future__ import annotations

import asyncio


async def increment_soon(number: int) -> int:
    """Add one, as programs of FastAPI are written."""
    await asyncio.sleep(0)
    return number + 1


async def sleep_soundly(seconds: float) -> None:
    """Sleep in an event loop."""
    await asyncio.sleep(seconds)
