"""Where in users' code something was said or went wrong: our own frames are left out."""

from __future__ import annotations

import inspect
import os
import sys
import types
import warnings

_OWN = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "")
"""The folder of our package, with `pycompss` in it."""


def is_own(file: str) -> bool:
    """Tell whether a file is one of ours."""
    return file.startswith(_OWN)


def warn(message: str, kind: type[Warning]) -> None:
    """Warn of what users' code does: the warning names the place there."""
    level, frame = 2, inspect.currentframe()
    frame = frame.f_back if frame is not None else None
    while frame is not None and is_own(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, kind, stacklevel=level)


def users_part(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Give a traceback without our own frames."""
    if trace is None:
        return None
    below = users_part(trace.tb_next)
    if is_own(trace.tb_frame.f_code.co_filename):
        return below
    return types.TracebackType(below, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


def _begun(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Leave out the line that began the program."""
    is_line = trace is not None and trace.tb_frame.f_code.co_filename == "<string>"
    return trace.tb_next if is_line and trace is not None else trace


def tell_users(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Print an exception that nobody caught as users need it; wholly in Python's development mode (`-X dev`)."""
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen and not sys.flags.dev_mode:
        seen.add(id(one))
        one.__traceback__ = users_part(_begun(one.__traceback__))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    sys.__excepthook__(kind, error, trace if sys.flags.dev_mode else error.__traceback__)
