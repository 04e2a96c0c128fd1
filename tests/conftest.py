"""What tests of several kinds share: a real agent, started as users start it."""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.nursery import BY_COMMANDS, Nursery, Split
from tests.fakes.tracing import Measuring

settings.register_profile(
    "gate",
    max_examples=int(os.environ.get("AGENTD_LAW_EXAMPLES", "60")),  # where a law says nothing else
    deadline=None,  # no law depends on how fast the machine is
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="AGENTD_LAW_EXAMPLES" not in os.environ,  # what fails then is what was changed; `make faults` explores
)
settings.load_profile("gate")

ROOT = Path(__file__).resolve().parents[1]
READY_S = 60.0
"""Until an agent must be ready, and until it must have ended; chosen: far above both on a busy machine."""
LOOK_S = 0.02
"""How often the ready file is looked for."""
GRACE_S = "0.2"
"""Left to what still runs when a test is over, unless the test says otherwise."""

TRACE = "Traceback (most recent call last)"
"""In the log of an agent: its own code raised what nobody caught. Users' faults are told otherwise."""

OF_THE_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")
"""What says how wide and how colourful the terminal is in which the tests are started, which is nothing to them."""
OF_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
"""What a machine needs to install the tests, and what could not reach their agents."""
for name in (*OF_THE_TERMINAL, *OF_PROXIES, *map(str.upper, OF_PROXIES)):
    os.environ.pop(name, None)

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # the tests run under nohup(1), and agents obey it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

READ_BY_PYTHON = ("PYTHON", "LD_", "LC_")
"""How variables begin that are read only as a process starts."""

PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
"""Of the environment: nothing that could set an agent up otherwise than the test says."""

ANY_PORTS = {"AGENTD_REST_PORT": "auto", "AGENTD_COMM_PORT": "auto"}
"""Those that agents have by default may be anybody's on this machine: the kernel gives them to connections."""


def pytest_configure(config: pytest.Config) -> None:
    """With `--cov`, measure what tests of the pure half run."""
    if config.getoption("cov_source", None):
        config.pluginmanager.register(Measuring(ROOT / "pyproject.toml"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what may take longer than others, by its own word: begun late it would be waited for by itself."""
    usual_s = float(config.getini("timeout") or 0)

    def limit_s(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return float(marker.args[0]) if marker is not None and marker.args else usual_s

    items.sort(key=lambda item: -max(limit_s(item), usual_s))


def pytest_collection() -> None:
    """Let no garbage collection look at what is loaded and collected, which is there to stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """As before: from here on only at what tests make."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module")
def small_heap() -> None:
    """Let `gc.collect()` in a test cost what the test itself made, not what tests before have loaded."""
    gc.collect()
    gc.freeze()


@dataclass
class RunningAgent:
    """A daemon in a process of its own, that said that it is ready."""

    process: subprocess.Popen[bytes] | Split
    state: Path
    log: Path
    """What it wrote to stderr."""
    name: str
    rest: str
    """URL of the user port; empty when that is closed."""
    comm: str
    """`host:port` for other agents; empty when that is closed."""
    boot: str
    out: Path
    """What it printed on stdout."""

    @property
    def pid(self) -> int:
        """Of the daemon."""
        return self.process.pid

    @property
    def stdout(self) -> str:
        """What it printed so far."""
        return self.out.read_text("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """What it wrote to stderr so far."""
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> int:
        """Ask it to end; gives its exit code.

        Raises:
            TimeoutExpired: it does not end.
        """
        self.process.send_signal(signal.SIGTERM)  # does nothing to one that has ended
        return self.process.wait(READY_S)

    def kill(self) -> None:
        """End it without a word, as a crash would."""
        self.process.kill()
        self.process.wait(READY_S)


StartAgent = Callable[..., RunningAgent]


def agent_environment(**more: str) -> dict[str, str]:
    """Give the environment in which an agent or a command is started: ours as far as it is harmless, and our code."""
    own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**own, "PYTHONPATH": str(ROOT), "AGENTD_GRACE_S": GRACE_S, **ANY_PORTS, **more}


def kept_port() -> socket.socket:
    """Keep a port of loopback: nobody is given it by the kernel, but who asks for that very one may listen there.

    So an agent that is started again finds the port that it had, whatever else runs meanwhile.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return kept


def _until_ready(process: subprocess.Popen[bytes] | Split, ready: Path, log: Path) -> dict[str, str | None]:
    deadline = time.monotonic() + READY_S
    while not ready.exists():
        try:
            code = process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, f"not ready within {READY_S:g} s:\n{log.read_text()}"
        else:
            pytest.fail(f"the agent ended with {code} instead of being ready:\n{log.read_text()}")
    found: dict[str, str | None] = json.loads(ready.read_text("utf-8"))
    return found


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A process that has loaded what agents load, so that most tests need not wait for that again."""
    made = Nursery(agent_environment())
    yield made
    made.close()


@pytest.fixture(scope="session")
def terminal() -> Iterator[Nursery]:
    """As `nursery`, for commands: each is a process of its own, only that it need not load what they all load."""
    made = Nursery(agent_environment(), BY_COMMANDS)
    yield made
    made.close()


@pytest.fixture
def start_agent(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[StartAgent]:
    """Start agents: `start_agent(*options, state=None, env={}, prefix=(), space="")`; each must end well.

    `space` is the file of the network namespace in which it is to be; without, it is in ours. `prefix` stands before
    the command and becomes it, as `env NAME=VALUE` does; with one (`env` does nothing), and
    with variables that Python itself reads, the command is loaded anew. An agent that the test has ended itself, or
    killed, is left alone. None may have a traceback in its log.
    """
    with agents_started(tmp_path_factory, nursery) as start:
        yield start


@contextmanager
def agents_started(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[StartAgent]:
    """As `start_agent`, for fixtures that last for several tests."""
    started: list[RunningAgent] = []
    kept: list[socket.socket] = []

    def start(
        *options: str,
        state: Path | None = None,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        space: str = "",
    ) -> RunningAgent:
        folder = tmp_path_factory.mktemp("agent")
        state = state or folder / "state"
        ready, log, out = folder / "ready.json", folder / "stderr", folder / "stdout"
        kept.extend(sockets := (kept_port(), kept_port()))
        rest, comm = (str(one.getsockname()[1]) for one in sockets)
        ports = ("--rest-port", rest, "--comm-port", comm)
        words = ["start", "--state", str(state), *ports, "--ready-file", str(ready), *map(str, options)]
        environment = agent_environment(**env or {})
        with log.open("wb") as stderr, out.open("wb") as stdout:
            process: subprocess.Popen[bytes] | Split
            if prefix or any(name.startswith(READ_BY_PYTHON) for name in env or {}):
                command = [*prefix, sys.executable, "-m", "agentd", *words]
                process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stdout, stderr=stderr)
            else:
                process = nursery.start(words, folder, environment, stdout.fileno(), stderr.fileno(), space=space)
        try:
            said = _until_ready(process, ready, log)
        except BaseException:
            process.kill()
            process.wait(READY_S)
            raise
        agent = RunningAgent(
            process, state, log, str(said["name"]), said["rest"] or "", said["comm"] or "", str(said["boot"]), out
        )
        started.append(agent)
        return agent

    yield start
    codes = [_ended(agent) for agent in reversed(started)]
    for one in kept:
        one.close()
    assert not any(codes), f"agents ended with {codes}"
    faults = [agent.stderr for agent in started if TRACE in agent.stderr]
    assert not faults, "an agent's own code raised what nobody caught:\n" + "\n".join(faults)


def _ended(agent: RunningAgent) -> int:
    """End an agent that still runs; gives its exit code, 0 for one that the test has ended itself."""
    was_running = agent.process.poll() is None
    try:
        code = agent.stop()
    except subprocess.TimeoutExpired:
        agent.kill()
        code = agent.process.returncode
    sys.stderr.write(f"--- stderr of agent {agent.name}, pid {agent.pid}:\n{agent.stderr}")  # shown if the test failed
    return code if was_running else 0


@pytest.fixture
def agent(start_agent: StartAgent) -> RunningAgent:
    """One agent with a fresh state folder and all defaults."""
    return start_agent()


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import what is called directly as an agent does that has its folder on its path."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "integration" / "apps"))
    return importlib.import_module("direct_calls")
