"""Users' code as the contract tests call it; functions that wait are coroutines here, and block in a real worker."""

from __future__ import annotations

import asyncio
import sys


def add(a, b=0):
    return a + b


def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


def nothing():
    return None


def fail(message="on purpose"):
    raise ValueError(message)


def raw(size=4):
    return b"\x00\xff" * (size // 2)


def odd():
    return {1, 2, 3} | {complex(1, 2)}


def large(size=100_000):
    return "x" * size


def speak(text="hello"):
    print(text)
    print("trouble", file=sys.stderr)


async def hold(text="begun"):
    print(text)
    await asyncio.get_running_loop().create_future()
