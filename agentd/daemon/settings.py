"""What an operator may set: flags beat the environment, which beats `agentd.toml`, which beats the defaults.

Law: every wrong setting is one error with file, line and name, before a port opens; this module alone reads the
environment.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from agentd.api.places import state_folder
from agentd.daemon import readings as read
from agentd.daemon.machine import machine_name
from agentd.daemon.readings import OFF
from agentd.daemon.users.spelling import meant, nearest, stray
from agentd.model.addresses import COMM_PORT, REST_PORT, is_loopback
from agentd.model.errors import ConfigError
from agentd.rest.port import SCOPES

FILE_NAME = "agentd.toml"
PREFIX = "AGENTD_"


class Settings(Struct, frozen=True, kw_only=True):
    """All settings of one daemon, checked. Times in seconds; a field's docstring is its help."""

    hostname: str
    """Name of this agent, by which its neighbours know it."""
    state: Path
    """Folder that holds everything that must survive: journal, objects, tokens, key."""
    rest_host: str = "127.0.0.1"
    """Address on which the user port listens."""
    comm_host: str = "127.0.0.1"
    """Address on which the port for other agents listens."""
    rest_port: int = REST_PORT
    """User port: a number, `auto`, or 0 or less to leave it closed."""
    comm_port: int = COMM_PORT
    """Port for other agents: a number, `auto`, or 0 or less to leave it closed."""
    rest_name: tuple[str, ...] = ()
    """Further names that the Host header of a request may bear."""
    cpu: int | None = None
    """CPU units that this agent grants; default: what project.xml declares, else what the machine has."""
    gpu: int | None = None
    """GPU units that this agent grants."""
    memory_mib: int | None = None
    """Memory that this agent grants, in MiB."""
    speed: float = 1.0
    """Speed of one core, 1 being the reference."""
    parent: tuple[str, ...] = ()
    """Agents above this one, `name=host:port` or `host:port`: dialled, and lent to in both directions."""
    neighbour: tuple[str, ...] = ()
    """Agents beside this one, as for `--parent`."""
    allow: tuple[str, ...] = ()
    """Modules outside the users' folders whose public functions may be called."""
    allow_binary: tuple[str, ...] = ()
    """Commands that tasks may run: names or paths; `*` for all."""
    storage_impl: str = "storage.api"
    """Store of persistent objects: its module, or the folder in which `storage/api.py` lies."""
    storage_conf: Path | None = None
    """File that the store is configured by, in each worker, at its first use there."""
    local_access: str = "code"
    """What a process of the same user on this device may do without a token: none, read, submit, code, admin."""
    hop_limit: int = 8
    """Links that a task may cross; at least the diameter of the net and two."""
    ready_file: Path | None = None
    """Where to write, as JSON, that the agent is ready and on which ports."""
    rest_tls: bool = False
    """Serve the user port over TLS, with the certificate of this device."""
    first_token: bool = False
    """At the first start make a token for everything and print it, once: for an agent that nobody reaches locally."""
    insecure: bool = False
    """Listen beyond loopback without TLS and authentication; said loudly at every start."""
    pythonpath: tuple[Path, ...] = ()
    """Folders with users' modules; default: the current folder."""
    python_interpreter: str = ""
    """Python that runs users' code; default: the one that runs the agent."""
    environment: tuple[str, ...] = ()
    """Names of further environment variables that users' code may see."""
    scheduler: str = "load-balancing"
    """fifo, fifo-data, lifo, ready, load-balancing, data, or package.module:Class."""
    scheduler_config_file: Path | None = None
    """Settings of the scheduler, as a JSON object or as `key = value` lines"""
    comm: str = "comm"
    """Adaptor by which the nodes of project.xml are reached: `comm`, `rest`, or a class name of COMPSs."""
    project: Path | None = None
    """project.xml that describes this device and its static neighbours."""
    resources: Path | None = None
    """resources.xml that belongs to it."""
    log_dir: Path | None = None
    """Folder of the logs; default: `log` in the state folder."""
    log_level: str = "info"
    """off, info, api, debug or trace."""
    heartbeat_s: float = 1.0
    """How often neighbours hear of each other when they have nothing to say."""
    lease_s: float = 5.0
    """How long a neighbour is believed alive without news."""
    orphan_ttl_s: float = 600.0
    """How long work goes on for a neighbour that is lost, unless it asked for it to be kept."""
    grace_s: float = 30.0
    """How long running work may go on after the agent was asked to stop."""
    queue_limit: int = 1_000_000
    """Tasks that may wait; above it submissions get a 429."""
    queue_mib: int = 512
    """Arguments that may wait, in MiB."""
    refer_kib: int = 256
    """Values from this size on, in KiB, stay with the agent that made them until another needs them."""
    shared_memory_mib: int | None = None
    """Shared memory that values may fill, in MiB; beyond it they go to the disk. Default: a quarter of the memory."""
    unschedulable_after: float | None = None
    """Fail an operation that no host could run for so long; off by default."""
    keep_operations: int = 100_000
    """Ended operations to keep at the most; what nobody has read is kept for a day in any case."""
    keep_s: float = 604_800.0
    """How long ended operations are kept."""
    keep_mib: int = 1024
    """Results to keep at the most, in MiB."""
    output_mib: int = 64
    """What one task may print, in MiB; the rest is cut."""
    confine: str = "auto"
    """Keep the state folder from users' code: auto (where that costs it nothing), strict (or do not start), off."""
    worker_memory_mib: int | None = None
    """Address space of one worker at the most; off by default."""
    pin_cpus: bool = False
    """Bind each worker to the processors that its tasks were granted; not for several agents on one machine."""
    fair_share: bool = True
    """Serve users and neighbours in turn, by the time of cores that they had; false: all in one order."""
    spare_workers: int | None = None
    """Workers beyond the cores while tasks wait for tasks; by default 2 for each core, and 4 at least."""
    reuse_resources_on_block: bool = True
    """Whether a task that waits for its tasks lends its cores meanwhile."""
    input_profile: Path | None = None
    """An execution profile to begin with: what functions take."""
    output_profile: Path | None = None
    """File to which what was learned is written too, every minute and at the end."""
    callback_host: tuple[str, ...] = ()
    """Hosts that may be called back when an operation ends."""
    summary: bool = False
    """Print at the end what ran: per function count, mean, 95th percentile, waiting and bytes."""
    origins: dict[str, str] = {}
    """Where each setting that is not a default came from."""
    remarks: tuple[str, ...] = ()
    """What an operator should know of what was given: said at the start, and by `agentd doctor`."""

    @property
    def log_folder(self) -> Path:
        """Where logs and users' output go."""
        return self.log_dir or self.state / "log"


_COUNT, _SECONDS = read.at_least(0, int), read.at_least(0.0, float)
_SOME, _SOME_SECONDS = read.at_least(1, int), read.at_least(0.001, float)

CONVERTERS: dict[str, Callable[[str], Any]] = {
    "hostname": read.name,
    "state": read.folder,
    "rest_host": str,
    "comm_host": str,
    "rest_port": read.port,
    "comm_port": read.port,
    "rest_name": read.words,
    "cpu": _COUNT,
    "gpu": _COUNT,
    "memory_mib": _SOME,
    "speed": _SOME_SECONDS,
    "parent": read.words,
    "neighbour": read.words,
    "allow": read.words,
    "allow_binary": read.words,
    "storage_impl": read.store,
    "storage_conf": read.existing,
    "local_access": read.one_of(*SCOPES),
    "hop_limit": _SOME,
    "ready_file": read.folder,
    "rest_tls": read.truth,
    "first_token": read.truth,
    "insecure": read.truth,
    "pythonpath": read.folders,
    "python_interpreter": str,
    "environment": read.words,
    "scheduler": str,
    "scheduler_config_file": read.folder,
    "comm": str,
    "project": read.folder,
    "resources": read.folder,
    "log_dir": read.folder,
    "log_level": read.one_of("off", "info", "api", "debug", "trace"),
    "heartbeat_s": _SOME_SECONDS,
    "lease_s": _SOME_SECONDS,
    "orphan_ttl_s": _SECONDS,
    "grace_s": _SECONDS,
    "queue_limit": _SOME,
    "queue_mib": _SOME,
    "refer_kib": _SOME,
    "shared_memory_mib": _SOME,
    "unschedulable_after": _SECONDS,
    "keep_operations": _COUNT,
    "keep_s": _SECONDS,
    "keep_mib": _COUNT,
    "output_mib": _SOME,
    "confine": read.one_of("auto", "strict", "off"),
    "worker_memory_mib": _SOME,
    "pin_cpus": read.truth,
    "fair_share": read.truth,
    "spare_workers": _COUNT,
    "reuse_resources_on_block": read.truth,
    "input_profile": read.folder,
    "output_profile": read.folder,
    "callback_host": read.words,
    "summary": read.truth,
}
"""How the text of each setting is read; the names are those of the options, in underscores."""

JOINED = {"appdir": "pythonpath", "classpath": "pythonpath"}
"""Options of the field that add to another setting."""


def resolve(flags: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Settings:
    """Work out all settings.

    Args:
        flags: options as given on the command line, by name in underscores; None: not given.
        environment: instead of the process's own, for tests.

    Raises:
        ConfigError: a setting is wrong; names it, where it stands, and what is expected.
    """
    environment = dict(os.environ if environment is None else environment)
    given = {
        name: (_text(value), f"option --{name.replace('_', '-')}") for name, value in flags.items() if value is not None
    }
    for name in (*CONVERTERS, *JOINED):
        text = environment.get(PREFIX + name.upper())
        if text is not None and (text or name != "state"):  # empty it is as not set, for the commands too
            given.setdefault(name, (text, f"environment variable {PREFIX}{name.upper()}"))
    state = _state_of(given)
    for name, found in _file(state / FILE_NAME).items():
        given.setdefault(name, found)
    return _checked(given, state, stray(environment, PREFIX, (*CONVERTERS, *JOINED)))


def _state_of(given: Mapping[str, tuple[str, str]]) -> Path:
    found = given.get("state")
    return _converted("state", *found) if found else state_folder()


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _file(path: Path) -> dict[str, tuple[str, str]]:
    """Read `agentd.toml`, if it is there."""
    try:
        text = path.read_text("utf-8")
        content = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):  # what is wrong with the folder is for who opens it to say
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    found = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        line = next((number for number, row in enumerate(text.splitlines(), 1) if row.lstrip().startswith(key)), 1)
        where = f"{path}, line {line}"
        if name == "state":
            raise ConfigError(f"{where}: this file is found in the state folder: give --state on the command line")
        if name not in CONVERTERS and name not in JOINED:
            hint = meant(nearest(name, CONVERTERS)) or f": known are {', '.join(sorted(CONVERTERS))}"
            raise ConfigError(f"{where}: unknown setting {key!r}{hint}")
        separator = os.pathsep if name in {"pythonpath", *JOINED} else ","
        found[name] = (separator.join(map(str, value)) if isinstance(value, list) else _text(value), where)
    return found


def _checked(given: dict[str, tuple[str, str]], state: Path, remarks: tuple[str, ...]) -> Settings:
    values: dict[str, Any] = {"state": state, "hostname": machine_name(), "pythonpath": ()}
    origins = {}
    for name, (text, where) in given.items():
        target = JOINED.get(name, name)
        if target not in CONVERTERS:
            raise ConfigError(f"{where}: unknown setting {name!r}")
        value = _converted(target, text, where, name)
        values[target] = (*values["pythonpath"], *value) if target == "pythonpath" else value
        origins[target] = where
    values["pythonpath"] = values["pythonpath"] or (Path.cwd(),)
    values["python_interpreter"] = values.get("python_interpreter") or sys.executable
    settings = Settings(**values, origins=origins, remarks=remarks)
    _agree(settings)
    return settings


def _converted(name: str, text: str, where: str, given_as: str = "") -> Any:
    try:
        return CONVERTERS[name](text)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {text!r} is no value for {given_as or name}: {error}") from error


def _agree(settings: Settings) -> None:
    """Check what settings say of each other."""
    if settings.rest_port == OFF and settings.comm_port == OFF:
        raise ConfigError(
            "both --rest-port and --comm-port are closed: open at least one, nobody could reach the agent"
        )
    if settings.rest_port == settings.comm_port and settings.rest_port > 0:
        raise ConfigError(f"--rest-port and --comm-port are both {settings.rest_port}: give them different numbers")
    if not (settings.insecure or settings.rest_tls or is_loopback(settings.rest_host)):
        raise ConfigError(
            f"--rest-host {settings.rest_host} is reachable from other devices, and nothing there is encrypted: "
            "add --rest-tls, use 127.0.0.1, or say --insecure if everyone on that network may read and forge"
        )
    if settings.lease_s < 3 * settings.heartbeat_s:
        raise ConfigError(
            f"--lease-s {settings.lease_s:g} is under 3 heartbeats of {settings.heartbeat_s:g} s: raise it"
        )


def process_environment() -> dict[str, str]:
    """Give the environment; what of it users' code may see is for the workers' settings to say."""
    return dict(os.environ)
