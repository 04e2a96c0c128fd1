"""COMPSs' door of a real agent, asked as its scripts ask: with curl, without a token, from the same device."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import READY_S, ROOT, RunningAgent, StartAgent
from tests.fakes.compss_samples import added, node, parameter, reduced, start, value
from tests.integration.daemon_rig import until

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")

APP = """
import os, sys, time
from pathlib import Path

def main(*words):
    print("main was given", *words)
    print("trouble", file=sys.stderr)
    return list(words)

def bad():
    raise ValueError("as asked for")

def until(path):
    while not Path(path).exists():
        time.sleep(0.01)

class Shop:
    @staticmethod
    def sell(what):
        print("sold", what)
"""
TEXT_7 = parameter("STRING_64_T", value("Izc="))
APPS = ROOT / "tests" / "integration" / "apps"
OPEN = ("--local-access", "admin", "--hostname", "alpha")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with users' code."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "shopping.py").write_text(APP)
    return tmp_path / "app"


def curl(agent: RunningAgent, method: str, path: str, body: str | None = None) -> str:
    """Ask as the scripts do; gives what is printed."""
    command = ["curl", "-s", f"-X{method}", f"{agent.rest}/COMPSs{path}", "--max-time", str(READY_S)]
    if body is not None:
        command += ["-H", "content-type: application/xml", "-d", body]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_operation_is_a_job_with_its_files(start_agent: StartAgent, app: Path, tmp_path: Path) -> None:
    """Its prints are in the file of its number, its end on stdout, and clients find both by grep."""
    agent = start_agent(*OPEN, "--pythonpath", str(app), "--log_dir", str(tmp_path / "log"), "--log_level", "debug")
    assert curl(agent, "GET", "/test") == ""
    number = curl(agent, "PUT", "/startApplication", start(TEXT_7, module="shopping", method="main"))
    assert number.isdigit()
    until(lambda: "Job completed after " in agent.stdout, "the end")
    assert agent.stdout.splitlines()[1:3] == ["test invoked", "Received REST call to run a PYTHON method"]
    jobs = tmp_path / "log" / "jobs"
    out = (jobs / "job1_NEW.out").read_text()
    assert "main was given 7\n" in out
    assert (jobs / "job1_NEW.err").read_text() == "trouble\n"
    line, _ = [line for line in out.splitlines() if line.startswith("  * Method definition: ")]
    assert line.split("=")[2][:-1] == "main"
    curl(agent, "PUT", "/startApplication", start(module="shopping", method="bad"))
    until(lambda: "Job failed after " in agent.stdout, "the failure")
    assert "ValueError: as asked for" in (jobs / "job2_NEW.err").read_text()
    assert sorted(path.name for path in jobs.iterdir()) == [
        f"job{job}_NEW.{suffix}" for job in (1, 2) for suffix in ("err", "out")
    ]


def test_at_the_level_of_debugging_each_task_is_a_job(start_agent: StartAgent, tmp_path: Path) -> None:
    """Numbered as they begin, each with its own prints alone, and with the function's name in both forms."""
    log = tmp_path / "log"
    agent = start_agent("-d", *OPEN, "--cpu", "1", "--pythonpath", str(APPS), "--log_dir", str(log))
    three = parameter("STRING_64_T", value("IzM="))
    curl(agent, "PUT", "/startApplication", start(three, module="talking_tasks", method="main"))
    until(lambda: "Job completed after " in agent.stdout, "the end")
    files = {path.name: path.read_text().splitlines() for path in (log / "jobs").glob("*.out")}
    assert sorted(files) == [f"job{number}_NEW.out" for number in (1, 2, 3, 4)]
    for number, (method, printed) in enumerate(
        [("main", "main got 4"), ("count", "value: 3"), ("count", "value: 2"), ("count", "value: 1")], 1
    ):
        old, new, *lines = files[f"job{number}_NEW.out"]
        assert old.split("=")[2][:-1] == json.loads(new[23:])["method_name"] == method
        assert lines == [printed]


def test_a_class_in_a_module_is_found(start_agent: StartAgent, app: Path) -> None:
    """`module.Class` and a method, as well as a module and a function; the end of a file's name does not matter."""
    agent = start_agent(*OPEN, "--pythonpath", str(app))
    for module, method in (("shopping.Shop", "sell"), ("shopping", "Shop.sell"), ("shopping.py", "main")):
        assert curl(agent, "PUT", "/startApplication", start(TEXT_7, module=module, method=method)).isdigit()
    until(lambda: agent.stdout.count("Job completed after ") == 3, "three ends")


def test_a_restart_numbers_jobs_anew_and_keeps_the_old_files(start_agent: StartAgent, app: Path) -> None:
    """Nothing of an earlier run is deleted."""
    body = start(TEXT_7, module="shopping", method="main")
    for run in (1, 2):
        agent = start_agent(*OPEN, "--pythonpath", str(app), state=app.parent / "state")
        curl(agent, "PUT", "/startApplication", body)
        until(lambda agent=agent: "Job completed after " in agent.stdout, "the end")
        assert agent.stop() == 0
        assert (agent.state / "log" / "jobs" / "job1_NEW.out").exists()
        assert len(list((agent.state / "log" / "old").glob("jobs.*/job1_NEW.out"))) == run - 1


def test_the_end_of_an_operation_stops_the_agents(start_agent: StartAgent, app: Path) -> None:
    """First those that it is passed on to, then the one that was asked; also when the operation fails."""
    others = [start_agent(*OPEN, "--pythonpath", str(app)) for _ in range(2)]
    agent = start_agent(*OPEN, "--pythonpath", str(app), "--callback-host", "127.0.0.1")
    agents = "".join(f"<agent>{other.rest}</agent>" for other in others)
    more = f"<action><actionName>stop</actionName><forwardTo>{agents}</forwardTo></action>"
    assert curl(agent, "PUT", "/startApplication", start(module="shopping", method="bad", more=more)).isdigit()
    for stopped in (*others, agent):
        assert stopped.process.wait(READY_S) == 0
        assert "Agent was shutdown" in (stopped.state / "log" / "agent.log").read_text()
    assert "Job failed after " in agent.stdout


def test_neighbours_are_stopped_over_their_link(start_agent: StartAgent, app: Path) -> None:
    """On one device, of one user: without --callback-host, if both let their user do everything."""
    other = start_agent("--local-access", "admin", "--hostname", "beta", "--pythonpath", str(app))
    agent = start_agent(*OPEN, "--pythonpath", str(app), "--neighbour", other.comm)
    until(lambda: "connected" in curl(agent, "GET", "/../v1/neighbours"), "the link")
    more = f"<action><actionName>stop</actionName><forwardTo><agent>{other.rest}</agent></forwardTo></action>"
    assert curl(agent, "PUT", "/startApplication", start(TEXT_7, module="shopping", method="main", more=more)).isdigit()
    for stopped in (other, agent):
        assert stopped.process.wait(READY_S) == 0
    assert "alpha asked this agent to stop" in (other.state / "log" / "agent.log").read_text()


def test_an_orchestrator_is_told(start_agent: StartAgent, app: Path, tmp_path: Path) -> None:
    """Another agent takes the notice for one that it did not ask for: it came, in the form that it reads."""
    orchestrator = start_agent(*OPEN)
    agent = start_agent(*OPEN, "--pythonpath", str(app), "--callback-host", "127.0.0.1")
    host = f"<host>{orchestrator.rest}/COMPSs</host>"
    more = f"<orchestrator>{host}<method>PUT</method><operation>/endApplication</operation></orchestrator>"
    curl(agent, "PUT", "/startApplication", start(TEXT_7, module="shopping", method="main", more=more))
    until(lambda: "was answered with 500" in agent.stderr, "the notice")


def test_the_own_device_grows_shrinks_and_goes_on_as_a_forwarder(start_agent: StartAgent, app: Path) -> None:
    """Under its own name; without units it is not listed, and takes operations for others all the same."""
    agent = start_agent(*OPEN, "--cpu", "1", "--pythonpath", str(app))

    def units() -> list[int]:
        found = json.loads(curl(agent, "GET", "/resources"))["resources"]
        return [entry["description"]["processors"][0]["units"] for entry in found]

    assert units() == [1]
    assert curl(agent, "PUT", "/addResources", added("alpha")) == ""
    assert units() == [5]
    assert curl(agent, "PUT", "/removeResources", reduced("alpha", 2)) == ""
    assert units() == [3]
    assert "largest matching processor has 3" in curl(agent, "PUT", "/removeResources", reduced("alpha", 4))
    assert curl(agent, "PUT", "/removeNode", node("removeNode", "alpha")) == ""
    assert units() == []
    assert curl(agent, "PUT", "/startApplication", start(module="shopping", method="main")).isdigit()


def test_delete_stops_and_answers(start_agent: StartAgent) -> None:
    """On both spellings of the path; the answer comes when all has ended."""
    for path in ("", "/"):
        agent = start_agent(*OPEN)
        assert curl(agent, "DELETE", path) == ""
        assert agent.process.wait(READY_S) == 0
