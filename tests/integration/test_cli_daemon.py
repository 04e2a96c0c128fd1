"""The commands against a real agent, in processes of their own: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.daemon_rig import WITH_APPS
from integration.siege_rig import plain

from agentd.wire import messages as m
from tests.conftest import ROOT, RunningAgent, StartAgent, agent_environment
from tests.fakes.nursery import Nursery

PATIENCE_S = 90
"""Above what any command takes on a busy machine."""
FOR_EVER = "3600"
"""Seconds of a nap that the test itself ends."""
NOBODY = "http://127.0.0.1:1"
"""Where no agent listens."""


class Shell:
    """Types commands as a user of this device does."""

    def __init__(self, agent: RunningAgent, folder: Path, terminal: Nursery | None, **environment: str) -> None:
        self.agent = agent
        self._terminal = terminal
        self._folder = folder
        self._environment = agent_environment(AGENTD_STATE=str(agent.state), NO_COLOR="1", **environment)

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `agentd` with these words, loaded anew if there is no terminal that has loaded it."""
        typed = tuple(map(str, words))
        if self._terminal is None:
            return self._run([sys.executable, "-m", "agentd", *typed])
        return self._terminal.run(typed, self._folder, self._environment, timeout=PATIENCE_S)

    def run_as(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run what is installed under another name."""
        code = f"import sys; sys.argv[0] = {name!r}; from agentd.__main__ import main; sys.exit(main())"
        return self._run([sys.executable, "-c", code, *words])

    def _run(self, line: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            line,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start `agentd` with these words; Ctrl-C works there as at a terminal."""
        return subprocess.Popen(
            [sys.executable, "-m", "agentd", *map(str, words)],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
        )

    def said(self, *words: str | Path) -> str:
        """Give what a command that must end well prints on stdout, without the last line end."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.removesuffix("\n")

    def json(self, *words: str) -> Any:
        """Give the document that a command prints."""
        return json.loads(self.said(*words))

    def rows(self, *words: str) -> list[list[str]]:
        """Give the fields of the lines that a command prints into a pipe."""
        return [row.split("\t") for row in self.said(*words).split("\n") if row]


@pytest.fixture
def shell(start_agent: StartAgent, terminal: Nursery, tmp_path: Path) -> Shell:
    """Give a shell beside an agent that has the tests' functions and two cores."""
    return Shell(start_agent(*WITH_APPS, "--cpu", "2", "--hostname", "alpha"), tmp_path, terminal)


# --- call ---------------------------------------------------------------------------------------------------------


def test_call_prints_the_result_and_nothing_else(shell: Shell) -> None:
    """The value alone is on stdout, as JSON; arguments are read as JSON, and named ones where asked for."""
    assert shell.said("call", "sums:increment", "41") == "42"
    assert shell.said("call", "--wait", "sums:increment", "-1") == "0"
    assert shell.said("call", "--kwargs", "sums:greet", "Ada", "times=2") == '{"hello":"Ada"}'
    whole = shell.json("call", "--json", "--name", "one more", "sums:increment", "1")
    assert (whole["state"], whole["result"], whole["name"], whole["ran_on"]) == ("done", 2, "one more", "alpha")


def test_call_can_give_the_id_at_once_and_the_result_later(shell: Shell) -> None:
    """`--no-wait` prints the id; `result` waits for what it stands for, and may write it to a file."""
    operation = shell.said("call", "--no-wait", "sums:increment", "41")
    assert operation.isdecimal()
    assert shell.said("result", operation) == "42"
    assert shell.json("result", "--json", operation)["id"] == operation
    target = shell.agent.state.parent / "value.json"
    assert not shell.said("result", operation, "-o", target)
    assert json.loads(target.read_text()) == 42
    first, second = (shell.said("call", "--no-wait", "--key", "k", "sums:increment", "1") for _ in range(2))
    assert first == second, "a key stands for one operation"


def test_giving_up_leaves_the_operation_running(shell: Shell) -> None:
    """Exit code 124, and the message tells how to wait again; `cancel` ends it, which is then what `result` says."""
    given_up = shell.run("call", "--timeout", "0.05", "sums:nap", FOR_EVER)
    (row,) = shell.rows("operations")
    operation = row[0]
    assert (given_up.returncode, given_up.stdout) == (124, "")
    assert f"agentd result {operation}" in given_up.stderr
    assert row[2] in {"queued", "running"}
    assert shell.run("result", "--timeout", "0", operation).returncode == 124
    assert shell.said("cancel", operation).startswith(f"{operation} is ")
    ended = shell.run("result", operation)
    assert ended.returncode == 1
    assert "cancelled" in ended.stderr


def test_a_failure_is_1_and_its_traceback_is_on_stderr(shell: Shell) -> None:
    """The traceback is that of the users' code, as Python prints it; stdout stays empty, also of `result`."""
    failed = shell.run("call", "sums:fail")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Traceback (most recent call last):\n")
    assert failed.stderr.endswith("ValueError: on purpose\n")
    (row,) = shell.rows("operations", "--in-state", "failed")
    assert shell.run("result", row[0]).stderr == failed.stderr
    whole = shell.run("call", "--json", "sums:fail")
    assert whole.returncode == 1
    assert json.loads(whole.stdout)["error"]["type"].endswith("ValueError")


def test_a_result_that_cannot_travel_is_said_to_be_one(shell: Shell) -> None:
    """The traceback is the pickler's, which does not tell what it was about: a line after it does."""
    failed = shell.run("call", "sums:lock")
    assert failed.returncode == 1
    assert "the result (a lock) cannot be pickled" in failed.stderr.splitlines()[-1]


WRONG: dict[int, list[tuple[list[str], str]]] = {
    2: [
        (["call"], "TARGET"),
        (["call", "--timeout", "soon", "sums:increment", "1"], "--timeout"),
        (["call", "none.py"], "there is no file none.py"),
        (["call", "--no-such", "sums:increment", "1"], "--no-such"),
        (["call", "--lang", "JAVA", "sums:increment", "1"], "PYTHON"),
        (["operations", "--in-state", "gone"], "queued"),
        (["operations", "--in-state", "queued,gone"], "'gone'"),
        (["operations", "--limit", "0"], "--limit"),
        (["resources", "add", "beta", "46102"], "NAME=VALUE"),
        (["resources", "reduce", "nobody"], "such as --cpu 1"),
        (["no-such-command"], "no-such-command"),
        (["start", "--log-level", "loud"], "--log-level"),
    ],
    3: [
        (["call", "sums:none_such"], "sums defines no public function 'none_such'"),
        (["call", "sums:_private"], "_private"),
        (["call", "os:getcwd"], "--allow os"),
        (["call", "--constraint", "no_such=1", "sums:increment", "1"], "no_such"),
        (["show", "1"], "1"),
        (["result", "rubbish"], "rubbish"),
        (["resources", "reduce", "--cpu", "1", "nobody"], "nobody"),
    ],
    4: [
        (["call", "--agent", NOBODY, "sums:increment", "1"], NOBODY),
        (["call", "--agent_node=127.0.0.1", "--agent_port=1", "sums:increment", "1"], NOBODY),
        (["status", "--state", "nowhere"], "nowhere"),
    ],
}
"""By exit code: lines that end with it, and what must be said."""


@pytest.mark.parametrize("code", WRONG)
def test_what_goes_wrong_has_its_code_and_its_words(code: int, shell: Shell) -> None:
    """2 wrong usage, 3 refused, 4 unreachable; the reason is on stderr, nothing on stdout, and no traceback of ours."""
    for words, why in WRONG[code]:
        done = shell.run(*words)
        assert (done.returncode, done.stdout) == (code, ""), (words, done.stderr)
        assert why in done.stderr
        assert "Traceback" not in done.stderr
    assert shell.rows("operations") == []
    assert [row[0] for row in shell.rows("resources")] == ["alpha"]


def test_a_state_folder_in_use_is_5(shell: Shell) -> None:
    """A second agent on the same folder ends before it does anything."""
    done = shell.run("start", "--rest-port", "auto", "--comm-port", "auto")
    assert done.returncode == 5, done.stderr
    assert str(shell.agent.state) in done.stderr


def test_a_program_that_is_here_is_sent_by_value(shell: Shell, tmp_path: Path) -> None:
    """It runs as `__main__` with its arguments as text; what it printed is told, and so is how it failed."""
    (tmp_path / "job.py").write_text("import sys\nprint(__name__, sys.argv[1:])\nprint('warned', file=sys.stderr)\n")
    operation = shell.said("call", "--no-wait", "job.py", "1", "--json")
    shell.said("result", operation)
    logs = shell.run("logs", operation)
    assert (logs.returncode, logs.stdout, logs.stderr) == (0, "__main__ ['1', '--json']\n", "warned\n")
    own = shell.run("call", "job.py", "2")
    assert (own.returncode, own.stdout, own.stderr) == (0, "__main__ ['2']\n", "warned\n")
    record = json.loads(shell.said("call", "--json", "job.py"))
    assert (record["state"], record["result"]) == ("done", None)
    followed = shell.run("call", "--follow", "job.py")
    assert followed.returncode == 0
    assert "__main__ []\n" in followed.stderr
    assert "__main__" not in followed.stdout
    (tmp_path / "job.py").write_text("\nraise KeyError('gone')\n")
    failed = shell.run("call", "job.py")
    assert failed.returncode == 1
    assert 'job.py", line 2' in failed.stderr
    assert "KeyError: 'gone'" in failed.stderr


# --- looking ------------------------------------------------------------------------------------------------------


def test_a_waiting_operation_says_why(shell: Shell) -> None:
    """`show`, the list and `status` give the reason; cancelling takes it out of the queue."""
    operation = shell.said("call", "--no-wait", "--constraint", "computing_units=50", "sums:increment", "1")
    fields = dict(row.split(None, 1) for row in shell.said("show", operation).splitlines())
    assert (fields["id"], fields["state"]) == (operation, "queued")
    assert "needs 50 CPU units" in fields["why"]
    assert "needs 50 CPU units" in shell.rows("operations", "--in-state", "queued")[0][-1]
    assert "needs 50 CPU units" in shell.said("status")
    assert shell.said("cancel", operation) in {f"{operation} is being stopped", f"{operation} is cancelled"}
    assert "cancelled" in shell.run("result", operation).stderr
    assert shell.said("cancel", operation) == f"{operation} is cancelled"
    assert shell.rows("operations", "--in-state", "queued") == []


def test_operations_are_listed_newest_first_and_shown_with_their_tasks(shell: Shell) -> None:
    """As many as asked for; of one, its tasks and their sum."""
    for number in range(3):
        shell.said("call", "sums:increment", str(number))
    rows = shell.rows("operations")
    assert [row[1:4] for row in rows] == [["sums:increment", "done", "alpha"]] * 3
    ids = [int(row[0]) for row in rows]
    assert ids == sorted(ids, reverse=True)
    assert [row[0] for row in shell.rows("operations", "--limit", "2")] == [row[0] for row in rows[:2]]
    whole = shell.json("show", "--json", "--tasks", rows[0][0])
    assert [task["function"] for task in whole["tasks"]] == ["sums:increment"]
    assert "sums:increment\t1\t1\t0\t" in shell.said("show", "--summary", rows[0][0])


def test_logs_keep_the_two_streams_apart(shell: Shell) -> None:
    """What was printed is on stdout, what went to stderr on stderr; as JSON each piece names its stream."""
    operation = shell.said("call", "--no-wait", "sums:greet", "Ada")
    followed = shell.run("logs", "--follow", operation)
    assert (followed.returncode, followed.stdout, followed.stderr) == (0, "hello Ada\n", "to stderr\n")
    pieces = [json.loads(line) for line in shell.said("logs", "--json", operation).splitlines()]
    assert {piece["stream"]: piece["text"] for piece in pieces} == {"stdout": "hello Ada\n", "stderr": "to stderr\n"}


def test_status_tells_who_the_agent_is(shell: Shell) -> None:
    """Name, health, ports and cores; the same as JSON."""
    said = shell.said("status")
    assert said.startswith("agent       alpha (ready)\n")
    assert shell.agent.rest in said
    found = shell.json("status", "--json")
    assert (found["agent"]["name"], found["agent"]["cores"], found["neighbours"]) == ("alpha", 2, [])
    assert found["agent"]["pid"] == shell.agent.pid


# --- the pool, tokens, this device --------------------------------------------------------------------------------


def test_the_pool_is_reshaped(shell: Shell) -> None:
    """A host is added, grows, shrinks, is removed and is lost; each answer is the host's row."""
    (row,) = shell.rows("resources", "add", "--cpu", "4", "beta", "Host=127.0.0.1", "Port=1")
    assert row[:3] == ["beta", "comm", "4 CPU"]
    assert shell.json("resources", "add", "--json", "--cpu", "2", "beta")["total"]["CPU"] == 6
    assert shell.rows("resources", "reduce", "--cpu", "1", "beta")[0][2] == "5 CPU"
    assert [row["name"] for row in shell.json("resources", "--json")["resources"]] == ["alpha", "beta"]
    again = shell.run("resources", "add", "beta")
    assert (again.returncode, "was in the pool already, with 5 CPU" in again.stderr) == (0, True)
    assert shell.rows("resources", "remove", "beta") == [["beta", "comm", "", "", "", "", "removed"]]
    own = shell.run("resources", "add", "alpha")
    assert (own.returncode, "alpha is this agent: say how much" in own.stderr) == (3, True)
    added = shell.run("resources", "add", "gamma", "Host=127.0.0.1", "Port=1")
    assert (added.returncode, "gamma grants what it will report of itself" in added.stderr) == (0, True)
    assert "gamma is not connected yet: 127.0.0.1:1 cannot be reached" in added.stderr
    assert shell.rows("resources", "lost", "gamma") == [["gamma", "comm", "", "", "", "", "lost"]]
    assert [row[0] for row in shell.rows("resources")] == ["alpha"]


def test_a_host_that_answers_is_connected_when_it_was_added(shell: Shell, start_agent: StartAgent) -> None:
    """The command waits a moment for the link, so that its row says whether the address was right."""
    _, _, port = start_agent("--hostname", "beta", "--cpu", "1").comm.rpartition(":")
    (row,) = shell.rows("resources", "add", "--cpu", "1", "beta", "Host=127.0.0.1", f"Port={port}")
    assert row[-1] == "connected"
    shell.said("resources", "lost", "beta")


def test_tokens_are_made_shown_and_revoked(shell: Shell, tmp_path: Path) -> None:
    """The token itself is printed once; it opens the agent as far as its scope goes, and is gone once revoked."""
    token = shell.said("token", "add", "laptop", "--scope", "read")
    (tmp_path / "laptop").write_text(token + "\n")
    assert ["laptop", "read"] in [row[:2] for row in shell.rows("token", "list")]
    shown = shell.said("token", "show", "laptop")
    assert shown.startswith("laptop\tread\t")
    assert token not in shown + shell.said("token", "--json")
    there = ("--agent", shell.agent.rest, "--token-file", str(tmp_path / "laptop"))
    assert shell.json("status", "--json", *there)["agent"]["name"] == "alpha"
    assert shell.run("call", *there, "sums:increment", "1").returncode == 3, "read is not submit"
    shell.said("token", "revoke", "laptop")
    assert shell.run("status", *there).returncode == 3
    assert "laptop" not in shell.said("token", "list")
    again = shell.run("token", "revoke", "laptop")
    assert again.returncode == 2
    assert "'laptop'" in again.stderr


def test_what_is_open_with_a_token_ends_when_it_is_revoked(start_agent: StartAgent, tmp_path: Path) -> None:
    """Sessions over Comm and streams over REST, of it alone; nobody waits for a beat of the agent's."""
    beats = {"AGENTD_HEARTBEAT_S": str(10 * PATIENCE_S), "AGENTD_LEASE_S": str(30 * PATIENCE_S)}
    shell = Shell(start_agent(*WITH_APPS, "--local-access", "none", env=beats), tmp_path, None)
    host, _, port = shell.agent.comm.rpartition(":")
    with ExitStack() as stack:
        sessions, streams = {}, {}
        for name in ("laptop", "desk"):
            token = shell.said("token", "add", name, "--scope", "read")
            raw = sessions[name] = stack.enter_context(plain((host, int(port))))
            raw.say(m.Hello(role="user", token=token))
            assert raw.hear(m.HelloAck).ok
            headers = {"authorization": f"Bearer {token}"}
            client = stack.enter_context(httpx.Client(base_url=shell.agent.rest, headers=headers, timeout=PATIENCE_S))
            streams[name] = stack.enter_context(client.stream("GET", "/v1/events")).iter_lines()
            assert next(streams[name])
        shell.said("token", "revoke", "laptop")
        assert sessions["laptop"].last_words()[0] == "revoked"
        operation = shell.said("call", "--no-wait", "sums:increment", "1")
        assert any(operation in line for line in streams["desk"])
        with pytest.raises(httpx.HTTPError):
            list(streams["laptop"])
        sessions["desk"].say(m.Goodbye())
        assert sessions["desk"].last_words() == ("", "")


def test_doctor_tells_what_holds_and_where_it_comes_from(shell: Shell) -> None:
    """Every check has a verdict; the state folder comes from the environment that was set."""
    done = shell.run("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == (2 if any(check["verdict"] == "bad" for check in found["checks"]) else 0)
    (state,) = (row for row in found["settings"] if row["name"] == "state")
    assert state["value"] == str(shell.agent.state)
    assert shell.run("doctor").stdout.startswith("system\t")


def test_doctor_tells_the_settings_of_the_agent_that_runs(shell: Shell) -> None:
    """Its options, which the doctor was not given, and what they open; what the file says since is told apart."""
    (shell.agent.state / "agentd.toml").write_text("cpu = 7\nlease_s = 9\n")
    found = shell.json("doctor", "--json")
    rows = {row["name"]: row for row in found["settings"]}
    assert (rows["cpu"]["value"], rows["cpu"]["origin"]) == ("2", "option --cpu")
    assert (rows["hostname"]["value"], rows["lease_s"]["value"]) == ("alpha", "5.0")
    (changed,) = (check["found"] for check in found["checks"] if check["name"] == "settings")
    assert changed == "changed in agentd.toml since the start: lease_s = 9.0"
    assert shell.agent.stop() == 0
    later = shell.json("doctor", "--json")
    rows = {row["name"]: row for row in later["settings"]}
    assert (found["running"], later["running"]) == (True, False)
    assert (rows["cpu"]["value"], rows["lease_s"]["value"]) == ("7", "9.0")


# --- names of COMPSs, and names that users have taken -------------------------------------------------------------


def test_under_a_name_of_compss_the_id_is_printed(shell: Shell) -> None:
    """Arguments are text, unknown options are warnings, and only `--wait` waits."""
    port = shell.agent.rest.rpartition(":")[2]
    there = ("--master_node=127.0.0.1", f"--master_port={port}", "--new_option=1", "--method_name=greet")
    done = shell.run_as("compss_agent_call_operation", *there, "sums", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdecimal()
    assert "--new-option" in done.stderr
    assert shell.said("result", done.stdout.strip()) == '{"hello":"1"}'
    waited = shell.run_as("compss-agent-call-operation", *there, "--wait", "sums", "1")
    assert (waited.returncode, waited.stdout) == (0, '{"hello":"1"}\n')


def test_the_pool_is_reshaped_under_the_names_of_compss(shell: Shell) -> None:
    """Node, port and figures as COMPSs' own scripts give them; failures have the same codes."""
    there = ("--agent_node=127.0.0.1", f"--agent_port={shell.agent.rest.rpartition(':')[2]}")
    for name, *words in (
        ("agent-add-resources", "--cpu=3", "beta", "Host=127.0.0.1", "Port=1"),
        ("compss_agent_reduce_resources", "--cpu=1", "beta"),
    ):
        done = shell.run_as(name, *there, *words)
        assert done.returncode == 0, done.stderr
    assert [row[2] for row in shell.rows("resources") if row[0] == "beta"] == ["2 CPU"]
    assert shell.run_as("compss-agent-lost-resources", *there, "beta").returncode == 0
    assert shell.run_as("compss-agent-lost-resources", *there, "beta").returncode == 3


def test_users_modules_may_be_named_as_ours(start_agent: StartAgent, tmp_path: Path) -> None:
    """A `cli.py` and a `schedulers.py` on the PYTHONPATH break nothing of ours, and users' code gets them."""
    users = tmp_path / "users"
    users.mkdir()
    (users / "cli.py").write_text("WHOSE = 'the cli of the users'\n\n\ndef whose():\n    return WHOSE\n")
    (users / "schedulers.py").write_text("WHOSE = 'the schedulers of the users'\n")
    (users / "app.py").write_text(
        "import cli, schedulers\n\n\ndef whose():\n    return [cli.WHOSE, schedulers.WHOSE]\n"
    )
    path = f"{users}:{ROOT}"
    agent = start_agent("--pythonpath", str(users), env={"PYTHONPATH": path})
    shell = Shell(agent, users, None, PYTHONPATH=path)
    assert json.loads(shell.said("call", "app:whose")) == ["the cli of the users", "the schedulers of the users"]
    assert shell.said("call", "cli:whose") == "the cli of the users"
    assert shell.json("status", "--json")["agent"]["ready"]
    assert shell.run_as("compss_agent_call_operation", "--method_name=whose", "app").returncode == 0


def test_arguments_that_do_not_fit_show_none_of_our_frames(shell: Shell) -> None:
    """The function was never entered: what Python says of that is all there is to say."""
    failed = shell.run("call", "sums:increment", "1", "2")
    assert failed.returncode == 1
    assert failed.stderr == "TypeError: increment() takes 1 positional argument but 2 were given\n"


# --- an agent that goes away --------------------------------------------------------------------------------------


def test_a_wait_outlives_the_agent(shell: Shell, start_agent: StartAgent, tmp_path: Path) -> None:
    """What was accepted is on the disk: who waits is told, waits on, and gets the result of the agent's next run."""
    gate, program = tmp_path / "gate", tmp_path / "waits.py"
    program.write_text(
        f"import time\nfrom pathlib import Path\nprint('begins', flush=True)\n"
        f"while not Path({str(gate)!r}).exists():\n    time.sleep(0.02)\nprint('ends')\n"
    )
    waiting = shell.start("call", program)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "begins\n"
    shell.agent.process.kill()
    shell.agent.process.wait(PATIENCE_S)
    assert waiting.stderr is not None
    said = waiting.stderr.readline()
    assert "is on its disk" in said
    assert "TLS" not in said
    start_agent(*WITH_APPS, "--cpu", "2", "--hostname", "alpha", state=shell.agent.state)
    assert "is back" in waiting.stderr.readline()
    gate.touch()
    out, _ = waiting.communicate(timeout=PATIENCE_S)
    assert (waiting.returncode, out) == (0, "ends\n")


def test_ctrl_c_leaves_an_operation_and_says_how_to_come_back(shell: Shell) -> None:
    """The id is told, which a call that waits has not printed; the operation goes on."""
    for _ in range(5):  # one that is broken off before it has read the answer cannot know the id
        waiting = shell.start("call", "sums:nap", FOR_EVER)
        identifier = ""
        while not identifier:
            identifier = "".join(row[0] for row in shell.rows("operations", "--in-state", "running"))
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=PATIENCE_S)
        assert waiting.returncode == 130
        if said:
            break
        shell.said("cancel", identifier)
        shell.run("result", identifier)  # it has ended
    assert f"`agentd result {identifier}` waits for it" in said
    assert shell.json("show", identifier, "--json")["state"] == "running"
    shell.said("cancel", identifier)


# --- where the output goes ----------------------------------------------------------------------------------------


def _typed(shell: Shell, line: str) -> subprocess.CompletedProcess[str]:
    """Let a real shell carry out a line in which `agentd` stands for the command."""
    return subprocess.run(
        ["/bin/sh", "-c", line.replace("agentd", f"{sys.executable} -m agentd")],
        cwd=ROOT,
        env=agent_environment(AGENTD_STATE=str(shell.agent.state)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_who_reads_a_program_s_output_may_leave(shell: Shell, tmp_path: Path) -> None:
    """As `head` does: no traceback."""
    program = tmp_path / "noisy.py"
    program.write_text("for number in range(100_000):\n    print(number)\n")
    for option in ("", "--follow"):
        done = _typed(shell, f"agentd call {option} {program} 2>&1 | head -n 1")
        assert done.stdout.count("\n") == 1
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", ["operations", "call sums:increment 1", "status --json", "--help", "--version"])
def test_output_that_cannot_be_written_is_said_in_one_line(shell: Shell, words: str) -> None:
    """A full disk is not the agent's, nor a fault of ours; the exit code is that of a disk."""
    shell.said("call", "sums:increment", "1")
    done = _typed(shell, f"agentd {words} > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (74, 1), done.stderr
    assert "cannot be written: No space left on device" in done.stderr


def test_a_closed_stream_is_no_fault(shell: Shell) -> None:
    """Who closes stdout wants nothing printed."""
    done = _typed(shell, "agentd operations >&-")
    assert (done.returncode, done.stderr) == (0, "")
