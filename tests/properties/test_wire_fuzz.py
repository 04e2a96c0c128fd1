"""Frames that somebody has changed, by the million.

AGENTD_FUZZ_FRAMES sets how many (100,000,000 is a night's work).
"""

from __future__ import annotations

import os
import random

import pytest

from agentd.model.errors import PeerError
from agentd.wire.codec import decode
from agentd.wire.framing import FrameDecoder
from agentd.wire.messages import Kind
from tests.properties.test_wire_laws import CORPUS
from tests.unit.wire.wire_examples import EXAMPLES, frame_of

FUZZ_FRAMES = int(os.environ.get("AGENTD_FUZZ_FRAMES", "1000000"))
BLOCKS = 4
CAP = 65_536
STREAMS = [stream for stream in (*CORPUS, *map(frame_of, EXAMPLES.values())) if len(stream) < 600]


def test_every_kind_of_frame_is_changed():
    """A new kind is forgotten neither here nor among the examples."""
    assert {next(iter(FrameDecoder(CAP).feed(stream))).kind for stream in STREAMS} == set(Kind)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_fuzz_a_frame_is_a_message_or_refused(block):
    """Of a million frames with some bytes changed each is read, awaited to its end, or the sender's fault."""
    chance = random.Random(block)
    read = refused = 0
    for _ in range(FUZZ_FRAMES // BLOCKS):
        dice = chance.randbytes(8)
        frame = bytearray(STREAMS[dice[0] % len(STREAMS)])
        for place in range(1, 2 + dice[7] % 3):  # a byte of the header or of the body, and up to two more
            frame[dice[place] * len(frame) >> 8] ^= dice[place + 3]
        try:
            for found in FrameDecoder(CAP).feed(bytes(frame)):
                decode(found, local=False)
                read += 1
        except PeerError:
            refused += 1
    assert read, "nothing that was changed was read: the changes are too many"
    assert refused, "nothing that was changed was refused: the changes are too few"
