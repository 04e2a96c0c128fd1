"""Every command against a REST door: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import pickle
import socket

import pytest

from cli.app import main
from tests.fakes.doors import open_door
from tests.integration.daemon_rig import free_port

PROJECT = """<Project><MasterNode><Processor Name="MainProcessor"><ComputingUnits>2</ComputingUnits></Processor>
</MasterNode></Project>"""
RESOURCES = "<ResourcesList></ResourcesList>"


@pytest.fixture(scope="module")
def own_door():
    with open_door() as door:
        yield door


@pytest.fixture(autouse=True)
def no_agent_of_ours(tmp_path, monkeypatch):
    """No command finds an agent of the machine that runs the tests."""
    monkeypatch.setenv("AGENTD_STATE", str(tmp_path / "nowhere"))
    monkeypatch.setenv("AGENTD_TOKEN", "admin-token")


@pytest.fixture
def run(capfd, own_door):
    """Run a command for the door: its exit code, stdout and stderr."""

    def run(*words, program="agentd", door=own_door):
        group = (
            2 if len(words) > 1 and words[:1] in (("resources",), ("token",)) and not words[1].startswith("-") else 1
        )
        at = words[:group] if program == "agentd" else ()
        code = main([program, *at, "--agent", door.url, *words[len(at) :]])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


# --- call ---------------------------------------------------------------------------------------------------------


def test_call_prints_the_result(run):
    """JSON in, JSON out; texts as they are."""
    assert run("call", "sample:add", "1", "2") == (0, "3\n", "")
    assert run("call", "--kwargs", "sample:add", "1", "b=2") == (0, "3\n", "")
    assert run("call", "sample:large", "3") == (0, "xxx\n", "")
    assert run("call", "sample:nothing") == (0, "null\n", "")
    assert run("call", "--wait", "sample:echo", "[1]", "x")[1] == '{"args":[[1],"x"],"kwargs":{}}\n'


def test_bytes_are_printed_raw(capfdbinary, own_door):
    """Into a pipe."""
    assert main(["agentd", "call", "--agent", own_door.url, "sample:raw", "4"]) == 0
    assert capfdbinary.readouterr().out == b"\x00\xff\x00\xff"


def test_call_can_print_everything_as_json(run):
    """The operation with its result; bytes in base64."""
    code, out, _ = run("call", "--json", "sample:add", "1")
    assert (code, json.loads(out)["state"], json.loads(out)["result"]) == (0, "done", 1)
    assert json.loads(run("call", "--json", "sample:raw", "2")[1])["result"] == "AP8="


def test_a_value_that_json_cannot_say_is_told_with_the_way_to_get_it(run, tmp_path):
    """The call was done: exit 0; `result -o` saves the pickle."""
    code, out, err = run("call", "sample:odd")
    assert (code, out) == (0, "")
    identifier = err.split("`agentd result ")[1].split()[0]
    assert run("result", identifier, "-o", str(tmp_path / "value")) == (0, "", "")
    assert pickle.loads((tmp_path / "value").read_bytes()) == {1, 2, 3, 1 + 2j}


def test_no_wait_prints_the_id(run):
    """And `result` waits for it later."""
    code, out, _ = run("call", "--no-wait", "sample:add", "4")
    assert code == 0
    assert out.strip().isdigit()
    assert run("result", out.strip()) == (0, "4\n", "")


@pytest.mark.parametrize("program", ["compss_agent_call_operation", "compss-agent-call-operation"])
def test_under_a_name_of_compss_the_id_is_printed_and_waiting_is_asked_for(run, program):
    """Arguments are text there, unknown options are warnings."""
    code, out, err = run("--bogus", "--method_name=echo", "--cei=x", "sample.py", "1", program=program)
    assert code == 0
    assert "unknown option --bogus" in err
    assert "--cei has no effect" in err
    assert run("result", out.strip())[1] == '{"args":["1"],"kwargs":{}}\n'
    assert run("--wait", "--method_name=echo", "sample", "1", program=program)[1].startswith('{"args":["1"]')


def test_a_failed_operation_is_exit_1_with_its_traceback(run):
    """On stderr; nothing on stdout, unless JSON was asked for."""
    code, out, err = run("call", "sample:fail", "broken")
    assert (code, out) == (1, "")
    assert "ValueError: broken" in err
    assert "Traceback" in err
    code, out, err = run("call", "--json", "sample:fail", "broken")
    assert code == 1
    assert json.loads(out)["error"]["type"] == "ValueError"


def test_giving_up_waiting_is_124_and_the_operation_goes_on(run):
    """The message says how to wait again."""
    code, out, err = run("call", "--timeout", "0.05", "sample:hold")
    assert (code, out) == (124, "")
    identifier = err.split("`agentd result ")[1].split("`")[0]
    code, _, err = run("result", identifier, "--timeout=0.05")
    assert (code, "running" in err) == (124, True)
    assert run("cancel", identifier)[:2] == (0, f"{identifier} is cancelled\n")
    code, _, err = run("result", identifier)
    assert (code, "cancelled" in err) == (1, True)


def test_top_looks_as_often_as_it_is_told(run):
    """A line of figures each time in a pipe, all of it as JSON."""
    held = run("call", "--no-wait", "sample:hold")[1].strip()
    code, out, err = run("top", "--count", "2", "--interval", "0.1")
    assert (code, err) == (0, "")
    assert [row.split("\t")[1:4] for row in out.splitlines()] == [["ready", "0", "4"]] * 2
    looked = [json.loads(row) for row in run("top", "--json", "--count", "2", "--interval", "0.1")[1].splitlines()]
    assert [look["agent"]["name"] for look in looked] == ["here", "here"]
    assert run("cancel", held)[0] == 0


def test_what_is_chosen_by_its_name_is_listed_and_stopped(run):
    """Of that name alone, and what has ended is not told of; the second time there is nothing."""
    ids = [run("call", "--no-wait", "--name", name, "sample:hold")[1].strip() for name in ("night 1", "night 2", "day")]
    ended = run("call", "--json", "--name", "night 0", "sample:add", "1")[1]
    listed = [row.split("\t")[0] for row in run("operations", "--name", "night *")[1].splitlines()]
    assert listed == [json.loads(ended)["id"], *ids[1::-1]]
    code, out, _ = run("cancel", "--name", "night *")
    assert (code, [row.split()[0] for row in out.splitlines()]) == (0, ids[1::-1])
    assert run("cancel", "--name", "night *", "--function", "sample:*") == (0, "", "agentd: there is nothing to stop\n")
    assert json.loads(run("cancel", "--json", "--in-state", "queued,running", "--function", "sample:hold")[1])[
        "operations"
    ]
    assert run("result", ids[2])[0] == 1


def test_many_ids_are_stopped_though_one_is_none(run):
    """The error comes at the end."""
    ids = [run("call", "--no-wait", "sample:hold")[1].strip() for _ in range(2)]
    code, out, err = run("cancel", ids[0], "4711", ids[1])
    assert (code, [row.split()[0] for row in out.splitlines()]) == (3, ids)
    assert "4711" in err


@pytest.mark.parametrize("words", [(), ("--all", "4711"), ("--in-state", "gone")])
def test_what_to_stop_is_said_in_one_way(run, words):
    """By ids or by a choice; nothing is not everything."""
    code, out, err = run("cancel", *words)
    assert (code, out) == (2, "")
    assert "--in-state" in err


def test_following_shows_progress_and_output_on_stderr(run):
    """Only the result is on stdout."""
    code, out, err = run("call", "--follow", "sample:speak", "heard")
    assert (code, out) == (0, "null\n")
    assert "heard\n" in err
    assert "trouble\n" in err
    assert "done" in err


def test_a_program_is_sent_and_run(run, tmp_path, monkeypatch):
    """FILE.py that is here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.py").write_text("print('from afar')")
    code, out, _ = run("call", "--no-wait", "hello.py")
    assert code == 0
    run("result", out.strip())
    assert "from afar" in run("logs", out.strip())[1]


def test_a_key_and_a_name_reach_the_agent(run):
    """The same key gives the same operation."""
    first = run("call", "--no-wait", "--key", "k-1", "--name", "mine", "sample:add", "1")[1]
    assert run("call", "--no-wait", "--key", "k-1", "--name", "mine", "sample:add", "1")[1] == first
    assert json.loads(run("show", "--json", first.strip())[1])["name"] == "mine"


# --- looking ------------------------------------------------------------------------------------------------------


def test_operations_are_listed_newest_first(run):
    """As rows in a pipe, as JSON when asked."""
    made = [run("call", "--no-wait", "sample:add", str(n))[1].strip() for n in range(3)]
    rows = [row.split("\t") for row in run("operations", "--limit", "3")[1].splitlines()]
    assert [row[0] for row in rows] == made[::-1]
    said = json.loads(run("operations", "--limit=2", "--json")[1])
    assert [row["id"] for row in said["operations"]] == made[:0:-1]
    assert said["next_cursor"]
    assert run("operations", "--in-state", "quarantined")[1] == ""


def test_show_says_what_is_known(run):
    """State, where, tasks, and the sum of the tasks."""
    identifier = run("call", "--no-wait", "sample:fail", "why not")[1].strip()
    run("result", identifier)
    code, out, _ = run("show", identifier, "--tasks", "--summary")
    assert code == 0
    assert "why        ValueError: why not" in out
    assert "Traceback" in out
    assert f"{identifier}\tsample:fail\tfailed" in out
    assert "sample:fail\t1\t0\t1" in out
    said = json.loads(run("show", identifier, "--tasks", "--json")[1])
    assert said["tasks"][0]["function"] == said["operation"]["function"] == "sample:fail"


def test_show_says_why_an_operation_waits(run):
    """The reason is what its owner needs."""
    with open_door() as door:
        identifier = run("call", "--no-wait", "sample:hold", door=door)[1].strip()
        record = door.agent._records[int(identifier)]
        while record.state != "running":
            pass
        record.reason = "needs 8 CPU units, the largest host has 4"
        record.state = "queued"
        assert "needs 8 CPU units" in run("show", identifier, door=door)[1]
        assert "needs 8 CPU units" in run("operations", door=door)[1]
        assert "needs 8 CPU units" in run("status", door=door)[1]


def test_logs_keep_the_two_streams_apart(run):
    """Users' stdout on stdout, their stderr on stderr."""
    identifier = run("call", "--no-wait", "sample:speak", "x")[1].strip()
    assert run("logs", "--follow", identifier) == (0, "x\n", "trouble\n")
    lines = run("logs", "--json", identifier)[1]
    assert '{"stream":"stdout","text":"x\\n"}' in lines.splitlines()


def test_status_fits_on_a_screen(run):
    """Who, where, how much; exit 3 when it takes no work."""
    code, out, _ = run("status")
    assert code == 0
    assert "here (ready)" in out
    assert len(out.splitlines()) <= 40
    assert json.loads(run("status", "--json")[1])["agent"]["name"] == "here"
    with open_door(draining=True) as door:
        code, out, err = run("status", door=door)
    assert code == 3
    assert "takes no work" in err


# --- resources ----------------------------------------------------------------------------------------------------


TRIED_AGAIN = "this is tried again and again, `agentd resources` shows it"


def test_the_pool_is_reshaped(run, monkeypatch):
    """Add, reduce, lost, remove; each shows the host as it then is."""
    monkeypatch.setattr("cli.resources.LINK_S", 0.0)
    assert run("resources", "add", "--cpu=4", "--gpu", "1", "beta", "Port=46102") == (
        0,
        "beta\tcomm\t4 CPU 1 GPU\t4 CPU 1 GPU\t\t\tconnecting\n",
        f"agentd: beta is not connected yet: it has not answered; {TRIED_AGAIN}\n",
    )
    assert run("resources", "reduce", "--cpu", "1", "beta")[1].startswith("beta\tcomm\t3 CPU")
    assert [row["name"] for row in json.loads(run("resources", "--json")[1])["resources"]] == ["here", "beta"]
    assert run("resources", "lost", "beta")[1].endswith("lost\n")
    run("resources", "add", "gamma")
    assert json.loads(run("resources", "remove", "--json", "gamma")[1])["state"] == "draining"
    code, _, err = run("resources", "lost", "nobody")
    assert (code, "no host nobody" in err) == (3, True)


@pytest.mark.parametrize("prefix", ["agent-", "compss-agent-", "compss_agent_"])
def test_the_names_of_the_field_reshape_too(run, prefix, monkeypatch):
    """As their scripts call them."""
    monkeypatch.setattr("cli.resources.LINK_S", 0.0)
    names = {
        word: (prefix + word + "-resources").replace("-", "_" if "_" in prefix else "-") for word in ("add", "lost")
    }
    assert run("--cpu=2", "delta", "Port=1", program=names["add"])[0] == 0
    assert run("delta", program=names["lost"])[0] == 0


def test_two_files_are_explained_without_an_agent(tmp_path, capfd):
    """What an agent would understand; a mistake is named by file, line and element."""
    project, resources = tmp_path / "project.xml", tmp_path / "resources.xml"
    project.write_text(PROJECT)
    resources.write_text(RESOURCES)
    assert main(["agentd", "resources", "--from-xml", str(project), str(resources)]) == 0
    assert "2 CPU MainProcessor" in capfd.readouterr().out
    assert main(["agentd", "resources", "--json", "--from-xml", str(project), str(resources)]) == 0
    assert json.loads(capfd.readouterr().out)["own"]["hardware"]["processors"][0]["units"] == 2
    project.write_text("<Project>")
    assert main(["agentd", "resources", "--from-xml", str(project), str(resources)]) == 2
    assert "project.xml" in capfd.readouterr().err
    assert main(["agentd", "resources", "--from-xml", str(tmp_path / "none"), str(resources)]) == 2


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_refusal_is_exit_3_with_the_reason(run, monkeypatch):
    """Unknown function, unknown operation, too little scope."""
    monkeypatch.setattr("cli.resources.LINK_S", 0.0)
    code, out, err = run("call", "nowhere:f")
    assert (code, out) == (3, "")
    assert "nowhere:f may not be called" in err
    assert run("show", "1")[0] == 3
    with open_door(same_user=False) as door:
        assert run("resources", "add", "beta", door=door)[0] == 0
        monkeypatch.setenv("AGENTD_TOKEN", "read-token")
        code, _, err = run("call", "sample:add", door=door)
    assert code == 3
    assert "submit" in err


def test_nobody_there_is_exit_4_with_the_address(capfd):
    """Of the agent that was named, or the state folder in which none is."""
    port = free_port()
    assert main(["agentd", "status", "--agent", f"127.0.0.1:{port}"]) == 4
    assert f"127.0.0.1:{port}" in capfd.readouterr().err
    assert main(["agentd", "call", "--agent-port", str(port), "m:f"]) == 4
    assert f"localhost:{port}" in capfd.readouterr().err
    assert main(["agentd", "status"]) == 4
    assert "nowhere" in capfd.readouterr().err
    assert main(["compss_agent_call_operation", "--master_node=127.0.0.1", f"--master_port={port}", "m"]) == 4
    assert f"127.0.0.1:{port}" in capfd.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("bogus",),
        ("show",),
        ("call", "--wait", "--no-wait", "m:f"),
        ("call", "--timeout=soon", "m:f"),
        ("operations", "--in-state=odd"),
        ("operations", "--limit=0"),
        ("status", "--agent", "ftp://x"),
        ("status", "--agent", "h:1", "--state", "/tmp"),
        ("status", "--token-file", "/nowhere/token", "--agent", "h:1"),
        ("start", "--rest-port=abc"),
        ("start", "--bogus"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2_with_words(capfd, words):
    """Before anything is sent; nothing on stdout."""
    assert main(["agentd", *words]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("agentd: ")


def test_remote_words_are_harmless_on_stderr(run):
    """A traceback with control characters does not steer the terminal."""
    _, _, err = run("call", "sample:fail", "\u001b]0;title\u0007")
    assert "\x1b" not in err
    assert "\\x1b" in err


def test_version_and_help(capfd):
    """Each command's help has its example and its defaults."""
    assert main(["agentd", "--version"]) == 0
    assert capfd.readouterr().out.startswith("agentd 0.")
    assert main(["compss_agent_start", "-v"]) == 0
    assert capfd.readouterr().out.startswith("agentd 0.")
    assert main(["agentd", "call", "--help"]) == 0
    text = capfd.readouterr().out
    assert "agentd call shop.prices:total" in text
    assert "default:" in text
    assert main(["agentd"]) == 0
    assert "operations" in capfd.readouterr().out
    assert main(["agentd", "resources", "add", "--help"]) == 0
    assert "--cpu-name" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("typed", "at", "offered"),
    [
        ("agentd sta", 1, "start\nstatus\nstart-service\n"),
        ("agentd call --no", 2, "--no-wait\n"),
        ("agentd token r", 2, "revoke\n"),
    ],
)
def test_the_shell_completes_commands_and_options(monkeypatch, capfd, typed, at, offered):
    """What the shell asks for through the environment is answered from the tables."""
    monkeypatch.setenv("_AGENTD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(at))
    assert main(["agentd"]) == 0
    assert capfd.readouterr().out == offered


def test_a_wrong_wish_for_completion_is_wrong_usage(capfd):
    """No traceback of the library that makes it."""
    assert main(["agentd", "--install-completion=x"]) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_tokens_are_made_listed_and_revoked(tmp_path, capfd):
    """Without a running agent; the token itself is shown once."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    at = ["--state", str(state)]
    assert main(["agentd", "token", "add", "laptop", "--scope=read", *at]) == 0
    token = capfd.readouterr().out.strip()
    assert token.startswith("agentd_")
    assert main(["agentd", "token", "list", *at]) == 0
    assert capfd.readouterr().out.startswith("laptop\tread\t")
    assert main(["agentd", "token", "show", "laptop", "--json", *at]) == 0
    text = capfd.readouterr().out
    assert json.loads(text)["scope"] == "read"
    assert token not in text
    assert main(["agentd", "token", "add", "laptop", *at]) == 2
    assert main(["agentd", "token", "revoke", "laptop", *at]) == 0
    assert main(["agentd", "token", "revoke", "laptop", *at]) == 2
    capfd.readouterr()
    assert main(["agentd", "token", "--json", *at]) == 0
    assert json.loads(capfd.readouterr().out) == {"tokens": []}


def test_doctor_checks_the_device_and_shows_every_setting(tmp_path, capfd, monkeypatch):
    """Where each setting comes from; something bad is exit 2."""
    monkeypatch.setenv("AGENTD_REST_PORT", "auto")
    monkeypatch.setenv("AGENTD_COMM_PORT", "auto")
    state = tmp_path / "fresh"
    assert main(["agentd", "doctor", "--json", "--state", str(state)]) == 0
    said = json.loads(capfd.readouterr().out)
    assert {"python", "disk", "memfd", "worker", "rest port"} <= {check["name"] for check in said["checks"]}
    origins = {row["name"]: row["origin"] for row in said["settings"]}
    assert origins["rest_port"] == "environment variable AGENTD_REST_PORT"
    assert origins["state"] == "option --state"
    assert origins["lease_s"] == "default"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("AGENTD_REST_PORT", str(taken.getsockname()[1]))
        assert main(["agentd", "doctor", "--state", str(state)]) == 2
    assert "rest port\tbad\t" in capfd.readouterr().out
    monkeypatch.setenv("AGENTD_REST_PORT", "many")
    assert main(["agentd", "doctor", "--state", str(state)]) == 2
    assert "settings\tbad\t" in capfd.readouterr().out
