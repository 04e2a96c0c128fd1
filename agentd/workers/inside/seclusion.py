"""Keeping the agent's own folder from users' code: its keys, tokens, journal and objects.

Law: what is said to hold does so in every process that users' code can become, and costs it nothing but that folder.

Two ways, as neither is to be had everywhere. Where this process may mount, it gets mounts of its own, in which an empty
folder lies over the agent's; Landlock then keeps users' code from taking that away, and from going round it through
processes outside (mount_namespaces(7), landlock(7)). Where it may not, Landlock alone bars the folder. Since Landlock
can only allow, all that lies beside the way to the folder is listed when a worker starts, and what is made beside it
later is barred as well: so that is done by itself only where this user can make nothing there.

This file runs in any Python from 3.10 on, with the standard library alone; as a program it tries itself out.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import struct
import sys
from typing import NamedTuple

AUTO, STRICT = "auto", "strict"
MOUNTS, LANDLOCK = "mounts", "landlock"

_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System calls of Landlock, of the same number on all processors."""
_VERSION = 1
_PATH_BENEATH = 1
_WRITE_FILE, _READ_FILE = 1 << 1, 1 << 2
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_MAKE_BLOCK, _REFER, _TRUNCATE = 1 << 11, 1 << 13, 1 << 14
"""LANDLOCK_ACCESS_FS_…, linux/landlock.h."""
_SCOPE_SIGNAL = 1 << 1
_LEAST_VERSION = 2
"""The first in which files may still be moved from one folder to another (Linux 5.19)."""
_VERSION_OF_TRUNCATE, _VERSION_OF_SIGNAL = 3, 6

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 8, 32, 4096
_MS_REC, _MS_SLAVE = 1 << 14, 1 << 19
"""linux/sched.h, linux/mount.h."""
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Seclusion(NamedTuple):
    """How the folder is kept from users' code."""

    how: str
    """`mounts` or `landlock`; empty: it is not."""
    why: str
    """What that means, or what was in the way, for an operator."""


def seclude(folder: str, shown: list[str], mode: str) -> Seclusion:
    """Bar this process, and all that come of it, from a folder, except for some folders below it.

    Those in `shown` are made if they are not there. Must be called while there is one thread.

    Raises:
        OSError: under `strict`: it cannot be had; the message says why.
    """
    try:
        found = _secluded(folder, shown, mode)
    except OSError as error:
        if mode == STRICT:
            raise OSError(f"--confine strict cannot be had: {error}") from error
        return Seclusion("", f"the kernel refuses it: {error}")
    if mode == STRICT and not found.how:
        raise OSError(f"--confine strict cannot be had: {found.why}")
    return found


def _secluded(folder: str, shown: list[str], mode: str) -> Seclusion:
    for path in shown:
        os.makedirs(path, 0o700, exist_ok=True)
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    version = max(0, _libc.syscall(_CREATE_RULESET, None, 0, _VERSION))
    obstacle = _obstacle(folder) if version >= _LEAST_VERSION else "no Landlock here; it came with Linux 5.19"
    is_root = os.geteuid() == 0
    if is_root and _libc.unshare(_CLONE_NEWNS) == 0:
        return _with_mounts(folder, shown, version, mode)
    if not obstacle:
        _restrict(_beside(folder, shown, version), _all_of(version), _scope(mode, version))
        return Seclusion(LANDLOCK, "Landlock bars it")
    if mode == STRICT and not is_root:
        _become_namespace()
        return _with_mounts(folder, shown, version, mode)
    return Seclusion("", f"{obstacle}; and this process may not mount" if is_root else obstacle)


def _obstacle(folder: str) -> str:
    """Say why Landlock would bar more than a folder: because of one above it; empty: it would not."""
    path = os.path.realpath(folder)
    while path != "/":
        path = os.path.dirname(path)
        if os.access(path, os.W_OK) or os.stat(path).st_uid == os.geteuid():
            return f"this user can make files in {path}, which Landlock would bar too"
        if not os.access(path, os.R_OK):
            return f"this user cannot list {path}, and Landlock would bar what is in it too"
    return ""


def _checked(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


# --- mounts -----------------------------------------------------------------------------------------------------


def _with_mounts(folder: str, shown: list[str], version: int, mode: str) -> Seclusion:
    """Cover a folder in this process's own mounts."""
    _mount("none", "/", None, _MS_REC | _MS_SLAVE)  # what is mounted outside later is seen here, not the reverse
    held = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) for path in shown]
    try:
        flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount("tmpfs", folder, "tmpfs", flags, "size=64k,mode=0700")
        for path, descriptor in held:
            os.makedirs(path, 0o700, exist_ok=True)
            _mount(f"/proc/self/fd/{descriptor}", path, None, _MS_BIND | _MS_REC)
        _mount("none", folder, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)
    finally:
        for _, descriptor in held:
            os.close(descriptor)
    _enter_again()
    _drop_capabilities_of_namespace()
    if version < _LEAST_VERSION:
        return Seclusion(MOUNTS, "an empty folder covers it; without Landlock root could take that away")
    _restrict([("/", _REFER)], _MAKE_BLOCK | _REFER, _scope(mode, version))
    return Seclusion(MOUNTS, "an empty folder covers it, and Landlock keeps that in place")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    _checked(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount {target}")


def _enter_again() -> None:
    """Leave the covered folder, if we are in it: what is reached from there would not be covered."""
    try:
        os.chdir(os.getcwd())
    except OSError:
        os.chdir("/")


def _become_namespace() -> None:
    """Get the right to mount, in a namespace in which nobody exists but this user (user_namespaces(7))."""
    uid, gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "no namespaces for this user")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "wb") as file:
            file.write(text.encode())


def _drop_capabilities_of_namespace() -> None:
    """Give up what a namespace of our own has brought; root outside of any stays what it is."""
    if os.geteuid() != 0:
        header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
        _checked(_libc.capset(header, bytes(24)), "capset")


# --- Landlock ---------------------------------------------------------------------------------------------------


def _all_of(version: int) -> int:
    """What is barred: reading and changing files, not seeing or running them."""
    return _WRITE_FILE | _READ_FILE | _REMOVE_AND_MAKE | _REFER | (_TRUNCATE if version >= _VERSION_OF_TRUNCATE else 0)


def _scope(mode: str, version: int) -> int:
    return _SCOPE_SIGNAL if mode == STRICT and version >= _VERSION_OF_SIGNAL else 0


def _beside(folder: str, shown: list[str], version: int) -> list[tuple[str, int]]:
    """List all that lies beside the way to a folder, and what is shown of it, with all rights."""
    rights = _all_of(version)
    rules = [(path, rights) for path in shown]
    path = os.path.realpath(folder)
    while path != "/":
        above, kept = os.path.split(path)
        rules += [(os.path.join(above, name), rights) for name in os.listdir(above) if name != kept]
        path = above
    return rules


def _restrict(rules: list[tuple[str, int]], handled: int, scope: int) -> None:
    """Take all `handled` rights from this process, for ever, except for those that the rules give below a path.

    Since a process that is restricted can neither mount nor look into one that is not, that is over with, too.
    """
    attributes = struct.pack("=QQQ", handled, 0, scope) if scope else struct.pack("=Q", handled)
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0), "landlock_create_ruleset")
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights)
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Give rights below a path; a link gives none, since what counts is where it leads."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone since it was listed, or out of reach in any case
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISLNK(mode):
            return
        if not stat.S_ISDIR(mode):
            rights &= _WRITE_FILE | _READ_FILE | _TRUNCATE
        rule = struct.pack("=Qi", rights, descriptor)
        _checked(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0), f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)


# --- trying it out ----------------------------------------------------------------------------------------------


def main() -> None:
    """Seclude this process, and say as JSON how, and which files of the folder it can read all the same."""
    folder, mode, *shown = sys.argv[1:]
    files = [os.path.join(folder, name) for name in os.listdir(folder)]
    try:
        how, why = seclude(folder, shown, mode)
    except OSError as error:
        how, why = "", error.strerror or str(error)
    said = {"how": how, "why": why, "readable": [path for path in files if _is_readable(path)]}
    sys.stdout.write(json.dumps(said))


def _is_readable(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return os.path.isfile(path)


if __name__ == "__main__":
    main()
