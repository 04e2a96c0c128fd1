"""What of the state folder is kept from users' code, and whether this device can do that."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agentd.api.places import ANNOUNCED
from agentd.model.errors import ConfigError
from agentd.workers.inside import seclusion

if TYPE_CHECKING:
    from agentd.daemon.settings import Settings

OFF = "off"
MODES = (seclusion.AUTO, seclusion.STRICT, OFF)
MOUNTING = ("apptainer", "bwrap", "podman", "singularity")
"""Programs that make containers by mounting, which those cannot do who are confined."""
TRIAL_S = 20.0
"""How long the trial of seclusion may take (chosen: a Python starts on the slowest device)."""


class Confinement(NamedTuple):
    """What is asked of workers."""

    mode: str
    shown: tuple[str, ...] = ()
    """Folders below the state folder that users' code needs."""
    why_not: str = ""
    """Why nothing is asked of them, in mode `off`."""


class Trial(NamedTuple):
    """What a process found that was confined as workers are."""

    how: str
    """Empty: it is not possible."""
    why: str
    readable: tuple[str, ...]
    """Files of the state folder that it could read all the same."""


def confinement(settings: Settings) -> Confinement:
    """Say what is asked of workers by the settings, and left out where it would bar what tasks are meant to do.

    Raises:
        ConfigError: `strict` is asked for, and users' code is in the state folder itself.
    """
    state = settings.state
    needed = [*settings.pythonpath, Path.cwd()]
    if settings.confine == OFF:
        return Confinement(OFF, why_not="--confine off")
    if state in needed:
        if settings.confine == seclusion.STRICT:
            raise ConfigError(
                f"--confine strict keeps users' code from {state}, where it is to run: start in another folder, "
                "with another --pythonpath, or choose another --state"
            )
        return Confinement(OFF, why_not=f"users' code runs in {state}: give it a folder of its own, or another --state")
    if settings.confine == seclusion.AUTO:
        engine = _engine_among(settings.allow_binary)
        if engine:
            return Confinement(OFF, why_not=f"tasks may run {engine}, which must mount")
    below = dict.fromkeys(str(path) for path in needed if state in path.parents and path.is_dir())
    return Confinement(settings.confine, (str(state / ANNOUNCED), *below))


def _engine_among(allowed: tuple[str, ...]) -> str:
    """Give a program that mounts and that tasks may run; empty: there is none."""
    names = {Path(command).name for command in allowed}
    return next((name for name in MOUNTING if name in names or ("*" in names and shutil.which(name))), "")


def tried(settings: Settings) -> Trial:
    """Confine a process as workers are, and see what it reads of the state folder, which must be there.

    Raises:
        OSError: the interpreter cannot be started, or does not answer.
    """
    asked = confinement(settings)
    program = [settings.python_interpreter, "-I", str(Path(seclusion.__file__))]
    try:
        done = subprocess.run(
            [*program, str(settings.state), asked.mode, *asked.shown],
            capture_output=True,
            timeout=TRIAL_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        said = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        raise OSError(f"a process that tried it failed: {error}") from error
    return Trial(said["how"], said["why"], tuple(said["readable"]))
