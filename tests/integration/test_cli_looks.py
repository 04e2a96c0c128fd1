"""An operation's tasks, looked at with the commands: what is drawn and summed up is what ran."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from agentd.api import AgentExecutor
from tests.conftest import ROOT, RunningAgent, StartAgent, agent_environment
from tests.integration.daemon_rig import until

PATIENCE_S = 100
COUNT = 2
"""Blocks a side of the matrices: 8 tasks make blocks, 8 multiply them."""


def _agentd(agent: RunningAgent, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "agentd", *words],
        env=agent_environment(AGENTD_STATE=str(agent.state)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_the_tasks_of_a_program_are_drawn_and_summed_up(agent: RunningAgent, tmp_path: Path) -> None:
    """Each task is a box, an edge stands for each datum, a slice for each run, and a row for each function."""
    _agentd(agent, "call", "examples/matmul.py", str(COUNT), "8")
    identifier = json.loads(_agentd(agent, "operations", "--json"))["operations"][0]["id"]
    picture, text, trace = tmp_path / "graph.svg", tmp_path / "graph.dot", tmp_path / "trace.json"
    rows = _agentd(agent, "show", identifier, "--summary", "--graph", str(picture), "--trace", str(trace)).splitlines()
    sums = {row.split("\t")[0]: row.split("\t")[1:4] for row in rows if row.count("\t") > 5}
    assert sums["__main__:random_block"] == sums["__main__:multiply_add"] == ["8", "8", "0"]
    titles = [one.text or "" for one in ET.fromstring(picture.read_text()).iter("{http://www.w3.org/2000/svg}title")]
    assert sum("multiply_add" in title for title in titles) == 8
    _agentd(agent, "show", identifier, "--graph", str(text))
    data = [edge for edge in re.findall(r"^  t\d+ -> t\d+(.*);$", text.read_text(), re.MULTILINE) if not edge]
    assert len(data) == 8 * 2 + 4, "each product reads two blocks, and every second one the sum before it"
    events = json.loads(trace.read_text())["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == 17
    ends = {event["args"]["task"]: event["ts"] + event["dur"] for event in events if event["ph"] == "X"}
    assert len(ends) == 17


def test_a_file_of_another_kind_is_refused(agent: RunningAgent) -> None:
    """Before anything is asked of the agent."""
    _agentd(agent, "show", "1", "--graph", "graph.png", code=2)
    _agentd(agent, "show", "1", "--trace", "trace.svg", code=2)


def test_calls_of_programs_say_why_they_wait(start_agent: StartAgent) -> None:
    """They are no operations, which alone would be shown: a program whose futures do not end can be asked about."""
    agent = start_agent("--cpu", "0")
    with AgentExecutor(agent.state) as agents:
        call = agents.submit(abs, -1)
        until(lambda: "builtins:abs" in _agentd(agent, "status"), "the reason")
        row = next(row for row in _agentd(agent, "status").splitlines() if row.startswith("calls"))
        assert "the largest matching processor has 0" in row
        assert call.cancel()
