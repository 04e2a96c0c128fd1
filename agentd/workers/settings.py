"""What an operator decides about the processes that run users' code."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.workers.inside.seclusion import AUTO

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSED = frozenset(
    {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}
)
"""Variables that users' code gets from the daemon's environment."""
PASSED_PREFIXES = ("LC_", "ComputingUnits")
OWN_FOLDER = str(Path(__file__).resolve().parents[2])
"""Where the packages of this product are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """All of it; the defaults suit a device that its owner trusts."""

    log_folder: Path
    """Ours alone; `workers/` and `operations/` are made below it."""
    interpreter: str = sys.executable
    roots: tuple[str, ...] = ()
    """Folders of users' code, in the order of the module path: --pythonpath, --appdir, --classpath."""
    allow: tuple[str, ...] = ()
    """Modules outside of the roots whose functions may be called by name, each with what is below it."""
    allow_binary: tuple[str, ...] = ()
    """Commands that tasks may run; `*` for all."""
    storage: tuple[str, str] = ("storage.api", "")
    """Store of persistent objects: its module, or the folder that it lies in; the file that it is configured by."""
    services: Mapping[str, str] = field(default_factory=dict)
    """Addresses of HTTP services, by name."""
    folder: str = ""
    """Working folder of users' code; empty: the daemon's."""
    task_folder: str = ""
    """Where the folder for the files of tasks is made; empty: where the system keeps temporary ones."""
    secret: str = ""
    """Folder that is kept from users' code; empty: none is."""
    shown: tuple[str, ...] = ()
    """Folders below it that are not; they are made if they are not there."""
    confine: str = AUTO
    """How much that may cost: see `agentd.workers.inside.seclusion`."""
    hostname: str = "localhost"
    environ: Mapping[str, str] = field(default_factory=dict)
    """The daemon's environment, to pick from."""
    pass_names: frozenset[str] = frozenset()
    """Further variables that the operator passes on."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that are set for users' code, whatever the environment says."""
    user_site: bool = False
    """Whether packages installed for the user alone are on the path."""
    memory_bytes: int | None = None
    """Address space of a worker; None: no limit."""
    pin_cpus: bool = False
    """Whether each worker is bound to the processors that its tasks were granted."""
    open_files: int | None = None
    file_bytes: int | None = None
    """Largest file that a worker may write."""
    cpu_seconds: int | None = None
    """CPU that one task may use; the kernel ends the worker above it."""
    output_bytes: int = 64 * 1024 * 1024
    """What is kept of each of stdout and stderr of one task."""
    segment_threshold_bytes: int = 256 * 1024
    """From this size on the buffers of a value travel through shared memory."""
    idle_segment_bytes: int = 256 * 1024 * 1024
    """Shared memory that a worker keeps for its next results."""
    segment_bytes: int = 1 << 40
    """Shared memory that results of one worker may take at a time."""
    probe_s: float = 10.0
    """How long to look for a function in an allowed module."""
    start_s: float = 10.0
    """How long the first process may take to be ready."""

    def environment(self) -> dict[str, str]:
        """Pick what users' code may see: never a variable of the daemon's own, unless it is set for it by name."""
        picked = {
            name: value
            for name, value in self.environ.items()
            if (name in PASSED or name in self.pass_names or name.startswith(PASSED_PREFIXES))
            and not name.upper().startswith("AGENTD_")
        }
        return picked | dict(self.variables)

    def shared(self) -> dict[str, object]:
        """Give what every worker must know, as JSON can hold it."""
        return {
            "roots": [str(Path(root).absolute()) for root in self.roots],
            "allow": list(self.allow),
            "allow_binary": list(self.allow_binary),
            "storage": list(self.storage),
            "services": dict(self.services),
            "own_folder": OWN_FOLDER,
            "folder": self.folder,
            "task_folder": self.task_folder,
            "secret": self.secret,
            "shown": list(self.shown),
            "confine": self.confine,
            "hostname": self.hostname,
            "user_site": self.user_site,
            "memory_bytes": self.memory_bytes,
            "open_files": self.open_files,
            "pin_cpus": self.pin_cpus,
            "file_bytes": self.file_bytes,
            "cpu_seconds": self.cpu_seconds,
            "segment_threshold_bytes": self.segment_threshold_bytes,
            "idle_segment_bytes": self.idle_segment_bytes,
            "segment_bytes": self.segment_bytes,
        }
