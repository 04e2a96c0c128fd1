"""Who may send what: a table by the speaker's part in the connection."""

from __future__ import annotations

from enum import Enum

from agentd.wire.messages import Kind


class Speaker(Enum):
    """One end of an open connection, by what it is for the other."""

    USER = "a user"
    SERVER = "an agent to a user"
    PEER = "a peer"
    GUEST = "a guest"
    """And whom it was a guest of: once it was let in, nothing is left to say but goodbye."""


_LEAVING = frozenset({Kind.GOODBYE})
ALWAYS = frozenset({Kind.GOODBYE, Kind.HEARTBEAT, Kind.CREDIT})
_DATA = frozenset({Kind.DATA_REQUEST, Kind.DATA_CHUNK, Kind.DATA_RELEASE})
_SEGMENTS = frozenset({Kind.SEGMENT, Kind.SEGMENT_FREE, Kind.SEGMENT_RELEASE})

RIGHTS: dict[Speaker, frozenset[Kind]] = {
    Speaker.USER: ALWAYS | _DATA | {Kind.DECLARE, Kind.SUBMIT, Kind.CANCEL_CALLS, Kind.OUTPUT_REQUEST, Kind.RESOURCE},
    Speaker.SERVER: ALWAYS | _DATA | {Kind.SETTLED, Kind.OUTPUT, Kind.DRAIN},
    Speaker.PEER: ALWAYS
    | _DATA
    | {Kind.DATA_HELD}
    | {Kind.DECLARE, Kind.OFFER, Kind.ANSWER, Kind.ENDED, Kind.ENDED_ACK, Kind.CANCEL_TASKS}
    | {Kind.LOAD, Kind.RESOURCE, Kind.INVENTORY, Kind.DRAIN, Kind.OUTPUT_REQUEST, Kind.OUTPUT}
    | {Kind.STOP, Kind.STOP_ANSWER, Kind.LINE_OPEN, Kind.LINE_ANSWER}
    | {Kind.OFFER_LOT, Kind.ACCEPT_LOT, Kind.ENDED_LOT, Kind.ENDED_LOT_ACK},
    Speaker.GUEST: _LEAVING,
}


def may_send(speaker: Speaker, *, local: bool) -> frozenset[int]:
    """Give the kinds that an end may send; shared memory and direct lines only on one device (`local`)."""
    rights = RIGHTS[speaker]
    if local and speaker in {Speaker.USER, Speaker.SERVER}:
        rights |= _SEGMENTS
    if local and speaker is Speaker.USER:
        rights |= {Kind.DIRECT_LINE, Kind.ANNOUNCE}
    if local and speaker is Speaker.SERVER:
        rights |= {Kind.LINE_GIVEN}
    return frozenset(map(int, rights))
