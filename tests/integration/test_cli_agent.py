"""The commands and the executor with a real agent: started as users start it, asked as users ask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agentd.api import AgentExecutor, connect
from tests.conftest import ROOT, agent_environment

LONG_S = 60.0
MODULE = """
import os, sys
from helper import plus

def inc(x):
    return plus(x, 1)

def who():
    return os.getpid()

def fail():
    raise LookupError("on purpose")

def scale(array, factor):
    return array * factor
"""


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    """A folder with users' modules, one of which uses another."""
    folder = tmp_path_factory.mktemp("functions")
    (folder / "shop.py").write_text(MODULE)
    (folder / "helper.py").write_text("def plus(a, b):\n    return a + b\n")
    return folder


@pytest.fixture
def cli(start_agent, functions, tmp_path):
    """Run `agentd …` in a process of its own for an agent of this test."""
    agent = start_agent("--pythonpath", str(functions), "--cpu", "2")

    def run(*words, program="agentd", **more):
        code = f"import sys; sys.argv[0] = {program!r}; from agentd.__main__ import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            env=agent_environment(AGENTD_STATE=str(agent.state), **more),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=LONG_S,
            check=False,
        )

    run.agent = agent
    return run


def test_the_agent_of_this_device_is_found_and_asked(cli, tmp_path):
    """No address, no token: the state folder is enough, for every command."""
    assert cli("call", "shop:inc", "4").stdout == "5\n"
    failed = cli("call", "shop:fail")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "LookupError: on purpose" in failed.stderr
    assert cli("call", "nowhere:f").returncode == 3
    made = cli("--method_name=inc", "shop", "4", program="compss_agent_call_operation")
    assert made.stdout.strip().isdigit(), made.stderr
    shown = json.loads(cli("show", "--json", made.stdout.strip()).stdout)
    assert shown["function"] == "shop:inc"
    assert cli("operations").stdout.count("\n") == 3
    status = cli("status")
    assert "(ready)" in status.stdout, status.stderr
    (tmp_path / "prog.py").write_text("import sys\nprint('ran as', __name__, sys.argv[1:])\n")
    followed = cli("call", "--follow", "prog.py", "a", "b")
    assert followed.returncode == 0, followed.stderr
    assert "ran as __main__ ['a', 'b']" in followed.stderr
    assert cli("resources", "--json").returncode == 0
    assert cli("doctor").returncode == 0


def test_a_folder_with_names_like_ours_on_the_path_changes_nothing(cli, tmp_path):
    """A user's `cli.py`, `schedulers.py`, `resources_xml` and `tests` are his own affair."""
    for name in ("cli", "schedulers", "resources_xml", "tests"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    ran = cli("call", "shop:inc", "4", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (ran.returncode, ran.stdout) == (0, "5\n"), ran.stderr


def _run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, which ends well."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=agent_environment(),
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=True,
    )


def test_a_start_loads_no_command_line_library_and_no_http_client(tmp_path):
    """What `start` needs before the daemon is its settings: neither typer nor rich nor httpx."""
    code = (
        "import sys; sys.argv[1:] = ['start', '--rest-port', 'x']\n"
        "from agentd.__main__ import main\n"
        "code = main()\n"
        "print(code, sorted({'typer', 'rich', 'httpx', 'fastapi', 'pydantic', 'click'} & set(sys.modules)))"
    )
    ran = _run(code)
    assert ran.stdout == "2 []\n"


def test_a_command_loads_no_other_command(agent):
    """The HTTP client comes without its own command line, which needs libraries of its own."""
    code = (
        "import sys; sys.argv[1:] = ['status', '--json', '--state', sys.argv[1]]\n"
        "from agentd.__main__ import main\n"
        "code = main()\n"
        "print(code, sorted({'httpx', 'rich', 'click', 'pygments'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = _run(code, str(agent.state))
    assert ran.stderr == "0 ['httpx']\n"


def test_importing_the_api_is_light():
    """A worker that only needs a name does not load an HTTP client or a command line."""
    code = (
        "import agentd.api, sys; print(len([m for m in sys.modules if m.startswith(('agentd', 'httpx', 'msgspec'))]))"
    )
    ran = _run(code)
    assert int(ran.stdout) == 2


# --- the executor -------------------------------------------------------------------------------------------------


@pytest.fixture
def executor(start_agent, functions):
    agent = start_agent("--pythonpath", str(functions), "--cpu", "2")
    with AgentExecutor(agent.state) as executor:
        executor.agent = agent
        yield executor


def local(x):
    return x + len(NAMES)


NAMES = ("a", "b")


class Cart:
    def __init__(self, items):
        self.items = items

    def total(self):
        return sum(self.items)


def total_of(cart):
    return cart.total()


def test_functions_and_classes_of_modules_that_the_agent_lacks(executor):
    """They go by value with what they refer to; results of such classes come back as themselves."""
    assert executor.submit(local, 1).result(LONG_S) == 3
    assert list(executor.map(local, range(200))) == [x + 2 for x in range(200)]
    assert executor.submit(total_of, Cart([1, 2])).result(LONG_S) == 3
    assert isinstance(executor.submit(lambda cart: cart, Cart([1])).result(LONG_S), Cart)


def test_functions_of_modules_that_the_agent_has(executor, functions, monkeypatch):
    """They go by name, also in chunks, and their own imports work there."""
    monkeypatch.syspath_prepend(str(functions))
    import shop

    assert list(executor.map(shop.inc, range(100), chunksize=9)) == list(range(1, 101))
    names = {template.function for template in executor._way.catalogue.templates if not template.code}
    assert names == {"shop:inc"}
    with pytest.raises(LookupError, match="on purpose") as caught:
        executor.submit(shop.fail).result(LONG_S)
    assert "in fail" in str(caught.value.__cause__)


def test_arrays_through_shared_memory(executor):
    """Arguments and results, many at a time, each right."""
    arrays = [np.full(50_000, n, dtype=float) for n in range(40)]
    for n, result in enumerate(executor.map(lambda x: x * 2, arrays)):
        assert (result == 2.0 * n).all()
    large = executor.submit(np.arange, 2_000_000).result(LONG_S)
    assert large[-1] == 1_999_999
    text = executor.submit(lambda x: x + "!", "x" * 20_000_000).result(LONG_S)
    assert len(text) == 20_000_001


def test_ten_thousand_at_once(executor):
    """All of them, in order."""
    futures = [executor.submit(local, x) for x in range(10_000)]
    assert [future.result(LONG_S) for future in futures] == [x + 2 for x in range(10_000)]


def test_a_worker_that_dies_does_not_end_the_executor(executor):
    """The call is the one that fails."""
    with pytest.raises(Exception, match=r".") as caught:
        executor.submit(lambda: os.kill(os.getpid(), signal.SIGKILL)).result(LONG_S)
    assert caught.value is not None
    assert executor.submit(local, 1).result(LONG_S) == 3


def test_durable_calls_are_operations(start_agent, functions):
    """They are in the journal, and so in the list."""
    agent = start_agent("--pythonpath", str(functions))
    with AgentExecutor(agent.state, durable=True, name="kept") as executor:
        assert list(executor.map(local, range(5))) == [x + 2 for x in range(5)]
    with connect(agent.state) as client:
        assert [row.state for row in client.operations()] == ["done"] * 5


def test_the_executor_outlives_a_crash_of_its_agent(start_agent, functions):
    """Calls that were under way are done by the agent that takes the state folder up."""
    first = start_agent("--pythonpath", str(functions), "--cpu", "1")
    with AgentExecutor(first.state, reconnect_s=LONG_S) as executor:
        assert executor.submit(local, 1).result(LONG_S) == 3
        gate = Path(first.state).parent / "gate"
        futures = [executor.submit(_wait_for, str(gate)) for _ in range(3)]
        with pytest.raises(TimeoutError):
            futures[0].result(timeout=0.2)
        first.kill()
        start_agent("--pythonpath", str(functions), "--cpu", "1", state=first.state)
        gate.touch()
        assert [future.result(LONG_S) for future in futures] == [True] * 3


def _wait_for(path):
    import time
    from pathlib import Path

    end = time.monotonic() + 60
    while not Path(path).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return Path(path).exists()


def test_over_http_to_the_same_agent(executor):
    """The same functions, the same values; the token is found by the address."""
    with AgentExecutor(executor.agent.rest, token=(executor.agent.state / "token").read_text().strip()) as remote:
        assert list(remote.map(local, range(30))) == [x + 2 for x in range(30)]
        with pytest.raises(Exception, match="division"):
            remote.submit(lambda: 1 / 0).result(LONG_S)
