"""Agents that are started with project.xml and resources.xml, and pools that are reshaped by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import READY_S, StartAgent, agent_environment
from tests.integration.daemon_rig import WITH_APPS, Door

MASTER = (
    "<MasterNode><Processor Name='MainProcessor'><ComputingUnits>1</ComputingUnits></Processor>"
    "<Memory><Size>0.5</Size></Memory></MasterNode>"
)


def files(folder: Path, port: str, adaptor: str = "es.bsc.compss.agent.comm.CommAgentAdaptor") -> tuple[str, ...]:
    """Write both files; gives the options that name them."""
    inner = f"<Properties><Property><Name>Port</Name><Value>{port}</Value></Property></Properties>"
    if "agent" not in adaptor:
        inner = "<Ports><MinPort>1</MinPort><MaxPort>2</MaxPort></Ports>"
    (folder / "project.xml").write_text(
        f"<Project>{MASTER}<ComputeNode Name='127.0.0.1'><InstallDir>/i</InstallDir><WorkingDir>/w</WorkingDir>"
        "<LimitOfTasks>1</LimitOfTasks></ComputeNode></Project>"
    )
    (folder / "resources.xml").write_text(
        "<ResourcesList><ComputeNode Name='127.0.0.1'><Processor Name='MainProcessor'><ComputingUnits>2"
        f"</ComputingUnits></Processor><Adaptors><Adaptor Name='{adaptor}'><SubmissionSystem><Interactive/>"
        f"</SubmissionSystem>{inner}</Adaptor></Adaptors></ComputeNode></ResourcesList>"
    )
    return f"--project={folder / 'project.xml'}", f"--resources={folder / 'resources.xml'}"


def test_a_node_of_the_files_is_a_neighbour_that_takes_work(start_agent: StartAgent, tmp_path: Path) -> None:
    """Without a word of the operator; its limit of tasks and its units are shown."""
    beta = start_agent(*WITH_APPS, "--hostname", "beta", "--cpu", "2")
    given = files(tmp_path, beta.comm.rpartition(":")[2])
    agent = start_agent(*WITH_APPS, *given, "--hostname", "alpha")
    door = Door(agent.rest, agent.state)
    door.until_connected("127.0.0.1")
    own, node = door.get("/v1/resources")["resources"]
    assert (own["total"]["CPU"], own["memory_mib"]) == (1, 512)
    assert (node["name"], node["total"]["CPU"], node["limit_of_tasks"]) == ("127.0.0.1", 2, 1)
    asked = {"constraints": {"computing_units": 2, "memory_mib": 600}, "wait_s": 60}
    done = door.submit("sums:increment", 2, **asked)
    assert (done["result"], done["ran_on"]) == (3, "beta")
    assert done["assumed"] == ["memory mib of 127.0.0.1"]


def test_a_node_of_another_kind_stops_the_start(tmp_path: Path) -> None:
    """Exit code 2, with file, line, and what is supported; as with the name of such an adaptor."""
    nio = "es.bsc.compss.nio.master.NIOAdaptor"
    for options in (files(tmp_path, "1", nio), (f"--comm={nio}",)):
        command = [sys.executable, "-m", "agentd", "start", "--state", str(tmp_path / "state"), *options]
        done = subprocess.run(
            command, env=agent_environment(), capture_output=True, text=True, timeout=READY_S, check=False
        )
        assert done.returncode == 2
        assert nio in done.stderr
        assert "CommAgentAdaptor" in done.stderr


def test_growing_beyond_the_hardware_is_warned_of(start_agent: StartAgent) -> None:
    """It is done, and said where it is asked for, in the log and in the pool."""
    agent = start_agent("--hostname", "alpha", "--cpu", "1")
    door = Door(agent.rest, agent.state)
    body = {"name": "alpha", "capacity": {"processors": [{"units": 1000}]}}
    row = door.client.post("/v1/resources", json=body).json()
    assert row["total"]["CPU"] == 1001
    (warning,) = row["warnings"]
    assert warning.startswith("1001 CPU units are more than the ")
    assert warning in agent.stderr
    assert door.get("/v1/resources")["resources"][0]["warnings"] == [warning]
