"""Wrong settings and wrong requests each get one clear answer that says what to do; nothing is lost by them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.daemon_rig import WITH_APPS, Door

from tests.conftest import agent_environment


def _start(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Start an agent that must not come up."""
    return subprocess.run(
        [sys.executable, "-m", "agentd", "start", "--state", str(folder), "--rest-port", "auto", *options],
        cwd=folder.parent,
        env=agent_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--scheduler", "nope"), 2, "load-balancing"),
        (("--rest-host", "0.0.0.0"), 2, "--insecure"),
        (("--cpu", "many"), 2, "cpu"),
        (("--lease-s", "0.5"), 2, "lease"),
        (("--rest-port", "0", "--comm-port", "0"), 2, "at least one"),
        (("--parent", "nonsense"), 2, "host:port"),
    ],
)
def test_a_wrong_setting_stops_the_start(tmp_path: Path, options: tuple[str, ...], code: int, words: str) -> None:
    """Exit code 2, one line on stderr that names the setting and what is expected."""
    ended = _start(tmp_path / "state", "--comm-port", "auto", *options)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_line_of_the_file_is_named(tmp_path: Path) -> None:
    """A wrong value in agentd.toml is told with file and line."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "agentd.toml").write_text('hostname = "a"\ncpu = "x"\n')
    ended = _start(state, "--comm-port", "auto")
    assert ended.returncode == 2
    assert "agentd.toml, line 2" in ended.stderr


def test_a_wrong_project_is_told_with_its_place(tmp_path: Path) -> None:
    """project.xml: file, line and element."""
    project = tmp_path / "project.xml"
    unit = "<Processor Name='p'><ComputingUnits>x</ComputingUnits></Processor>"
    project.write_text(f"<Project>\n<MasterNode>{unit}</MasterNode></Project>")
    ended = _start(tmp_path / "state", "--comm-port", "auto", "--project", str(project))
    assert ended.returncode == 2
    assert "project.xml:2" in ended.stderr
    assert "ComputingUnits" in ended.stderr


def test_a_second_daemon_on_one_state_folder_refuses(agent: Any) -> None:
    """Exit code 5, and the first goes on."""
    ended = _start(agent.state, "--comm-port", "auto")
    assert ended.returncode == 5
    assert str(agent.pid) in ended.stderr
    assert Door(agent.rest, agent.state).get("/health")


@pytest.mark.parametrize("option", ["--rest-port", "--comm-port"])
def test_a_port_in_use_is_told(tmp_path: Path, option: str) -> None:
    """Exit code 5, naming the port and how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = {"--rest-port": "--comm-port", "--comm-port": "--rest-port"}[option]
        ended = _start(tmp_path / "state", other, "auto", option, str(port))
    assert ended.returncode == 5, ended.stderr
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_an_unwritable_state_folder_is_told(tmp_path: Path) -> None:
    """A folder that cannot be made stops the start with one line."""
    tmp_path.chmod(0o500)
    ended = _start(tmp_path / "state", "--comm-port", "auto")
    tmp_path.chmod(0o700)
    assert ended.returncode in {2, 74}
    assert "Traceback" not in ended.stderr


def test_wrong_requests_are_refused_and_nothing_is_queued(start_agent: Callable[..., Any]) -> None:
    """Each wrong request has its status and says what to do; afterwards the agent works and has queued nothing."""
    agent = start_agent(*WITH_APPS)
    door = Door(agent.rest, agent.state)
    for function, words in (
        ("sums:absent", "increment"),
        ("sums:_private", "private"),
        ("os:system", "--allow os"),
        ("../../etc:passwd", "package.module:function"),
        ("json:loads", "--allow json"),
        ("nowhere:f", "--pythonpath"),
    ):
        answer = door.post(function)
        assert answer.status_code == 422, answer.text
        assert words in answer.text
    for options in ({"constraints": {"wheels": 4}}, {"constraints": {"computing_units": -1}}, {"priority": "high"}):
        assert door.post("sums:increment", 1, **options).status_code == 422
    headers = {"content-type": "application/json"}
    assert door.client.post("/v1/operations", content=b'{"function": oops', headers=headers).status_code == 400
    huge = json.dumps({"function": "sums:increment", "args": ["x" * 10_000_000]}).encode()
    too_large = door.client.post("/v1/operations", content=huge, headers=headers)
    assert too_large.status_code == 413
    assert "/v1/blobs" in too_large.text
    assert door.get("/v1/operations")["operations"] == []
    assert door.submit("sums:increment", 1, wait_s=30)["result"] == 2


def test_every_bad_end_has_its_own_reason(start_agent: Callable[..., Any]) -> None:
    """Exceptions, exits, signals, time-outs and results that cannot travel are told apart, and the agent goes on."""
    agent = start_agent(*WITH_APPS)
    door = Door(agent.rest, agent.state)
    for function, arguments, options, state, words in (
        ("sums:fail", (), {}, "failed", "on purpose"),
        ("sums:lock", (), {}, "failed", "pickle"),
        ("sums:crash", (), {}, "quarantined", "SIGSEGV"),
        ("sums:leave", (3,), {}, "quarantined", "3"),
        ("sums:nap", (600,), {"timeout_s": 0.2}, "failed", "time-out"),
        ("sums:stubborn", (600,), {"timeout_s": 0.2}, "failed", "time-out"),
        ("sums:increment", ("text",), {}, "failed", "concatenate"),
    ):
        found = door.submit(function, *arguments, wait_s=60, **options)
        assert found["state"] == state, found
        assert words in found["error"]["message"], found
    assert door.submit("sums:increment", 1, wait_s=30)["result"] == 2


def test_hostile_frames_leave_the_agent_alive(agent: Any) -> None:
    """Rubbish, HTTP and hostile lengths on the Comm port are answered with a reason or dropped, and harm nobody."""
    host, _, port = agent.comm.rpartition(":")
    for rubbish in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(4096), b"\xa9D\x01\x01" + b"\xff" * 8, b"\x00"):
        with socket.create_connection((host, int(port)), timeout=60) as sock:
            sock.sendall(rubbish)
            while sock.recv(65536):
                pass
    assert Door(agent.rest, agent.state).get("/health")
