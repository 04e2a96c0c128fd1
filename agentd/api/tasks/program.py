"""A whole program whose tasks an agent runs: what `agentd run` starts, in a process of its own."""

from __future__ import annotations

import os
import sys
import types

from agentd.api.tasks.places import tell_users
from agentd.api.tasks.session import attach


def main(words: list[str]) -> int:
    """Run a program as `__main__` in a session; the words are the agent's state folder, the program, its arguments.

    Raises:
        BaseException: whatever the program raises, and what a task raised that nobody waited for.
    """
    state, script, *arguments = words
    with open(script, "rb") as file:
        source = file.read()
    folder = os.path.dirname(os.path.abspath(script))
    sys.path[0] = folder
    _append_names(sys.path)
    sys.argv[:] = [script, *arguments]
    module = types.ModuleType("__main__")
    module.__file__ = script
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    sys.excepthook = tell_users
    code = compile(source, script, "exec", dont_inherit=True)
    with attach(state) as session:
        try:
            exec(code, module.__dict__)  # noqa: S102 - the user's program
        except SystemExit as end:
            if end.code not in {None, 0}:
                raise
        session.close()
    return 0


def _append_names(path: list[str]) -> None:
    """Let the program have PyCOMPSs' names, behind all else: a real PyCOMPSs comes first."""
    import agentd

    for folder in agentd.__path__:
        names = os.path.join(folder, "pycompss")
        if os.path.isdir(names) and names not in path:
            path.append(names)
