"""The wire of a direct line, between a session and the worker that serves it: frames over a stream socket.

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
DURABLE_HEAD = Struct("<IBQ")
"""As `CALL_HEAD`, then the session's number of the call."""
OVER_BODY = Struct("<QB")
"""How many calls were begun; whether the end of the last of them comes as the end of the line's task."""
SECRET_BYTES = 32
FAR_HEAD = Struct(f"<d{SECRET_BYTES}s")
"""Beside the socket of a line to another agent, for its worker: for how many seconds it may be idle, and the secret by
which the session is known. Where the line is TLS, the key and certificate of the worker's end follow, as PEM."""

TEMPLATE = 1
"""Session to worker: `TEMPLATE_HEAD`; before the first call that names it."""
CALL = 2
"""Session to worker: `CALL_HEAD`."""
DURABLE_CALL = 3
"""Session to worker: `DURABLE_HEAD`; the agent is told of its end, and tells the session."""
ENDED = 21
"""Worker to session, msgpack: an array of one [number of the call, status, value, failure, started, seconds]."""
OVER = 22
"""Worker to session: `OVER_BODY`. The line is over; calls that were not begun will not be."""
READY = 23
"""Worker to session, over a line to another agent: it begins to serve. Before it no call may be sent.

Where the line is TLS, this is all that is plain: the session begins the handshake with its first call, and what it says
first within is the secret.
"""
HANDSHAKE_S = 0.25
"""For so long each end waits for the other one's part of the handshake (chosen: a hundred times what it takes)."""

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
