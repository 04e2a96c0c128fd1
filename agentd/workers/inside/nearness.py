"""Where a worker runs while it serves a line: on the processor of who calls it, if the kernel has no better idea.

A caller and its worker take turns: one sleeps while the other runs, so one processor is all that they use. To wake
another one takes 20 us more in a virtual machine (measured), twice for each call, and the kernel leaves two that began
apart as they are for seconds. So a worker that sleeps between calls comes over once for each line, and is free to be
moved from then on; one that looks for the next call (`agentd.api.calls.spinning`) is better off on another processor.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress

_CREDENTIALS = struct.Struct("3i")
"""pid, uid, gid: what SO_PEERCRED gives (unix(7))."""
_PROCESSOR = 36
"""Place of the processor a process was last on, among the fields of its stat behind the name (proc_pid_stat(5))."""


def come_over(sock: socket.socket) -> None:
    """Move this thread to the processor of who has sent something over a socket, if that is on this device.

    What the thread may run on stays as it was: where it may not run there, it stays where it is.
    """
    with suppress(OSError, ValueError, IndexError):  # a caller that nobody can see has no place
        allowed = os.sched_getaffinity(0)
        if len(allowed) > 1 and (processor := _processor_of(sock)) in allowed:
            try:
                os.sched_setaffinity(0, (processor,))
            finally:
                os.sched_setaffinity(0, allowed)


def _processor_of(sock: socket.socket) -> int:
    """Give the processor of the other end; -1: it is on another device.

    Raises:
        OSError: there is nobody, or it cannot be seen.
        ValueError: as above.
        IndexError: as above.
    """
    if sock.family == socket.AF_UNIX:
        pid, _, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read(4096).rpartition(b")")[2].split()[_PROCESSOR])
    if sock.getpeername()[0] != sock.getsockname()[0]:
        return -1
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_INCOMING_CPU)
