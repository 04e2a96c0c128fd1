"""The wire of a direct line, between a session and the worker that serves it: frames over a Unix stream socket.

Standard library only: the worker loads this file too, and may be another Python. A frame is a header (u32 length of the
body, u8 kind) and a body, integers little-endian, as between a daemon and its workers.

Law: the session sends a call only when the one before has been answered, and no frame of either side is larger than the
kernel takes at once: so nobody ever waits for the other to read.
"""

from __future__ import annotations

from struct import Struct

HEADER = Struct("<IB")
"""Length of the body in bytes, kind."""
TEMPLATE_HEAD = Struct("<IBI")
"""Number, form, length of the name; the name in UTF-8 and the code follow."""
CALL_HEAD = Struct("<IB")
"""Number of the template, codec; the encoded arguments follow."""
OVER_BODY = Struct("<QB")
"""How many calls were begun; whether the end of the last of them comes as the end of the line's task."""

TEMPLATE = 1
"""Session to worker: `TEMPLATE_HEAD`; before the first call that names it."""
CALL = 2
"""Session to worker: `CALL_HEAD`."""
ENDED = 21
"""Worker to session, msgpack: an array of one [number of the call, status, value, failure, started, seconds]."""
OVER = 22
"""Worker to session: `OVER_BODY`. The line is over; calls that were not begun will not be."""

ARGUMENTS_MOST = 32 * 1024
"""Encoded bytes of a call's arguments (chosen: larger buffers go through shared memory anyway)."""
CODE_MOST = 64 * 1024
"""Bytes of a function that goes by value (chosen: with the arguments far below what a socket takes, some 200 KB)."""
ANSWER_MOST = 64 * 1024
"""Bytes of a result, or of what is told of a failure; what is larger goes by the daemon (chosen: as above)."""
SLICE_S = 0.1
"""After this the line is given back, whoever calls (chosen: what others may have to wait for)."""
IDLE_S = 0.004
"""It is given back when no call came for so long (chosen: as a caller who is away for longer is no loop of calls)."""
