"""A switch in one process: frames between TAP devices, each way under conditions of its own.

    python relay.py COUNT

makes the devices `t0` to `t<COUNT-1>` in its network namespace and says `ready`. Each line of JSON on stdin is then one
order, answered by one line: `{"from": 0, "to": 1, "delay_s": 0.1}` sets conditions of that way, and with `"cuts":
[[0, 1.5], [2, 2.5]]` it is cut at those times, in seconds from now; `{"counts": true}` asks what was carried and what
was dropped. It ends, and the devices with it, when stdin does.

What one way can do to frames: delay and jitter (in order, as one road does, or not), loss by chance, doubling, a rate
with a queue of bounded length, and nothing at all getting through. Like a cut cable, and unlike a firewall that
answers, a cut is silent.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import selectors
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from heapq import heappop, heappush
from itertools import count
from typing import Any

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
"""From linux/if_tun.h: a device of Ethernet frames without a header before them."""
FRAME_BYTES = 1 << 17
FRAMES_A_TURN = 64
"""Read from one device before the others have their turn."""
QUEUE_S = 1.0
"""A way with a rate drops what would wait longer than this (chosen: a home router's buffer)."""


@dataclass
class Way:
    """From one device to another."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """By chance up to so much more."""
    loss: float = 0.0
    """Share of frames that are dropped by chance."""
    doubled: float = 0.0
    """Share of frames that arrive twice."""
    bytes_per_s: float = 0.0
    """0: as fast as it goes."""
    is_cut: bool = False
    cuts: Sequence[tuple[float, float]] = ()
    """Times at which it is cut."""
    reorders: bool = False
    """Jitter lets frames pass one another."""
    busy_until: float = 0.0
    last_at: float = 0.0
    carried: int = 0
    dropped: int = 0

    def is_cut_at(self, now: float) -> bool:
        """Tell whether nothing gets through."""
        return self.is_cut or any(begin <= now < end for begin, end in self.cuts)

    def arrivals(self, frame: bytes, now: float, chance: random.Random) -> list[float]:
        """Say when a frame arrives; never, if it is dropped."""
        if self.is_cut_at(now) or (self.loss and chance.random() < self.loss):
            self.dropped += 1
            return []
        start = now
        if self.bytes_per_s:
            start = max(self.busy_until, now)
            if start - now > QUEUE_S:
                self.dropped += 1
                return []
            start = self.busy_until = start + len(frame) / self.bytes_per_s
        self.carried += 1
        copies = 2 if self.doubled and chance.random() < self.doubled else 1
        return [self._arrival(start, chance) for _ in range(copies)]

    def _arrival(self, start: float, chance: random.Random) -> float:
        at = start + self.delay_s + (chance.uniform(0.0, self.jitter_s) if self.jitter_s else 0.0)
        if not self.reorders:
            at = self.last_at = max(at, self.last_at)
        return at


SETTABLE = frozenset(field.name for field in fields(Way)) - {"busy_until", "last_at", "carried", "dropped"}


class Relay:
    """All devices and the ways between them."""

    def __init__(self, devices: list[int], seed: int) -> None:
        self._devices = devices
        self._chance = random.Random(seed)
        self._ways = {(one, other): Way() for one in range(len(devices)) for other in range(len(devices))}
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._ties = count()
        self._orders = b""
        self._selector = selectors.DefaultSelector()
        for number, device in enumerate(devices):
            os.set_blocking(device, False)
            self._selector.register(device, selectors.EVENT_READ, number)
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ, -1)

    def run(self) -> None:
        """Carry until nobody gives orders any more."""
        while True:
            pause_s = max(self._waiting[0][0] - time.monotonic(), 0.0) if self._waiting else None
            for key, _ in self._selector.select(pause_s):
                if key.data >= 0:
                    self._read(key.data)
                elif not self._obey():
                    return
            self._deliver(time.monotonic())

    def _read(self, source: int) -> None:
        now = time.monotonic()
        for _ in range(FRAMES_A_TURN):
            try:
                frame = os.read(self._devices[source], FRAME_BYTES)
            except OSError:  # nothing more, or the device is down
                return
            for target in self._targets(source, frame):
                for at in self._ways[source, target].arrivals(frame, now, self._chance):
                    heappush(self._waiting, (at, next(self._ties), target, frame))

    def _targets(self, source: int, frame: bytes) -> list[int]:
        """Read the receiver from the last byte of its address, which is its number and one; others go to all."""
        number = frame[5] - 1
        if not frame[0] & 1 and number < len(self._devices):
            return [number] if number != source else []
        return [target for target in range(len(self._devices)) if target != source]

    def _deliver(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, _, target, frame = heappop(self._waiting)
            try:
                os.write(self._devices[target], frame)
            except OSError:  # the device is down
                continue

    def _obey(self) -> bool:
        data = os.read(0, 65_536)
        if not data:
            return False
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            sys.stdout.write(json.dumps(self._order(json.loads(line))) + "\n")
            sys.stdout.flush()
        return True

    def _order(self, order: dict[str, Any]) -> object:
        if order.pop("counts", False):
            return {f"{one} {other}": [way.carried, way.dropped] for (one, other), way in self._ways.items()}
        way = self._ways[order.pop("from"), order.pop("to")]
        unknown = order.keys() - SETTABLE
        if unknown:
            return {"error": f"unknown conditions: {sorted(unknown)}"}
        if "cuts" in order:
            now = time.monotonic()
            order["cuts"] = [(now + begin, now + end) for begin, end in order["cuts"]]
        for name, value in order.items():
            setattr(way, name, value)
        return {}


def device(name: str) -> int:
    """Make a TAP device, which lives as long as its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


if __name__ == "__main__":
    relay = Relay([device(f"t{number}") for number in range(int(sys.argv[1]))], seed=int(sys.argv[2]))
    print("ready", flush=True)
    relay.run()
