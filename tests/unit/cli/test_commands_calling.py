"""What `agentd call` makes of its words, and which agent a command is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.errors import AgentdError, ConfigError
from cli import target
from cli.call import SCRIPT_CAP_BYTES, _body, seconds, value_of
from cli.parsing import UsageError, parse
from cli.resources import capacity_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def _said(*words: str, is_compss: bool = False) -> dict[str, Any]:
    """Give the submission that the words make."""
    return _body(parse(list(words), command="call", is_compss=is_compss))


@given(JSON)
def test_json_is_read_as_json(value: Any) -> None:
    """What is JSON comes out as the value that it stands for."""
    assert value_of(json.dumps(value)) == value


@pytest.mark.parametrize(
    "word",
    ["three", "", "01", "[1,", "'a'", "None", "True", "NaN", "Infinity", "-Infinity", "1" * 30, "[" * 100_000, "\x00"],
    ids=lambda word: repr(word[:12]),
)
def test_what_is_no_json_is_text(word: str) -> None:
    """As it is; numbers that other languages could not read are text too."""
    assert value_of(word) == word


def test_arguments_are_json_or_text() -> None:
    """Each word by itself."""
    body = _said("m:f", "1", "[2, 3]", "four", '"5"', "a=6")
    assert body["function"] == "m:f"
    assert body["args"] == [1, [2, 3], "four", "5", "a=6"]
    assert not body.get("kwargs")


def test_named_arguments_are_read_when_asked_for() -> None:
    """`name=value` with --kwargs; what is no name stays an argument."""
    body = _said("--kwargs", "m:f", "1", "times=2", "who=Ada", "2=3", "a b=c", "x==y")
    assert body["args"] == [1, "2=3", "a b=c"]
    assert body["kwargs"] == {"times": 2, "who": "Ada", "x": "=y"}


@pytest.mark.parametrize("options", [["--lang", "PYTHON"], ["--lang=python"], ["--method-name", "f"]])
def test_in_the_manner_of_compss_arguments_are_text(options: list[str]) -> None:
    """With --lang and --method-name, and under the names of COMPSs, numbers stay text."""
    assert _said(*options, "m", "1", "[2]")["args"] == ["1", "[2]"]
    assert _said("m", "1", is_compss=True)["args"] == ["1"]


def test_an_array_is_one_argument() -> None:
    """A list of text, under both names of the option."""
    for option in ("--array", "--parameters_array"):
        assert _said(option, "m", "1", "two")["args"] == [["1", "two"]]


@pytest.mark.parametrize(
    ("words", "function"),
    [
        (["pkg.mod:fun"], "pkg.mod:fun"),
        (["pkg.mod"], "pkg.mod:main"),
        (["--method-name", "fun", "pkg.mod"], "pkg.mod:fun"),
        (["--method_name=fun", "mod.py"], "mod:fun"),
    ],
)
def test_the_target_names_a_function(words: list[str], function: str) -> None:
    """`module:function`, or `module` with its `main` or what --method-name says."""
    if words[-1].endswith(".py"):
        assert _said(*words, is_compss=True)["function"] == function
    else:
        assert _said(*words)["function"] == function


def test_a_program_that_is_here_is_sent_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its source and its name travel; its arguments stay text, as `sys.argv` has them."""
    (tmp_path / "job.py").write_text("print('here')\n")
    monkeypatch.chdir(tmp_path)
    body = _said("job.py", "1", "--json")
    assert "print('here')" in json.dumps(body)
    assert body["args"] == ["1", "--json"]
    assert "print('here')" not in json.dumps(_said("job.py", is_compss=True)), "under COMPSs' names it is a module"


def test_a_program_that_is_not_here_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for a module."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"there is no file job\.py"):
        _said("job.py")


def test_a_program_has_a_cap_and_is_text(tmp_path: Path) -> None:
    """A file too large, or none of UTF-8, is refused before anything is sent."""
    (tmp_path / "large.py").write_bytes(b"#" * (SCRIPT_CAP_BYTES + 1))
    (tmp_path / "binary.py").write_bytes(b"\xff")
    for name, why in (("large.py", "is larger than"), ("binary.py", "cannot be read")):
        with pytest.raises(ConfigError, match=why):
            _said(str(tmp_path / name))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--lang", "JAVA", "m:f"], "--lang JAVA is not supported: operations are functions in PYTHON"),
        (["--lang=C", "m:f"], "--lang C is not supported"),
        (["--method-name", "g", "m:f"], "named twice"),
        (["--constraint", "computing_units", "m:f"], "write NAME=VALUE"),
        (["--priority", "high", "m:f"], "no whole number"),
        (["--max-attempts", "some", "m:f"], "--max-attempts 'some' is no whole number"),
        (["--on-failure", "IGNORE", "m:f"], "none of FAIL, RETRY"),
        (["--run-timeout", "-1", "m:f"], "give seconds from 0"),
    ],
)
def test_a_wrong_call_is_refused_before_it_is_sent(words: list[str], why: str) -> None:
    """The message names the option and says what is expected."""
    with pytest.raises(UsageError, match=why):
        _said(*words)


def test_options_reach_the_submission() -> None:
    """Constraints, names, keys, priorities and the longest run."""
    words = ["--constraint", "computing-units=2", "--constraint", "os_type=Linux", "--name", "n", "--priority", "-3"]
    body = _said(*words, "--run-timeout", "1.5", "m:f")
    assert body["constraints"] == {"computing_units": 2, "os_type": "Linux"}
    assert (body["name"], body["priority"], body["timeout_s"]) == ("n", -3, 1.5)


def test_what_is_to_be_done_when_it_fails_reaches_the_submission() -> None:
    """Whether it runs again, how often, and who is told; without the options it is as the agent has it."""
    body = _said("--on-failure", "retry", "--max-attempts", "5", "--at-most-once", "--callback", "http://h/x", "m:f")
    assert (body["on_failure"], body["max_attempts"], body["idempotent"]) == ("RETRY", 5, False)
    assert body["callback"] == {"url": "http://h/x"}
    assert not {"on_failure", "max_attempts", "idempotent", "callback"} & _said("m:f").keys()


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "soon", "", "1e400"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    """Only finite seconds from 0 are a time."""
    with pytest.raises(UsageError, match="--timeout"):
        seconds(parse(["call", f"--timeout={text}", "m:f"]), "timeout")


@pytest.mark.parametrize(
    ("words", "address"),
    [
        (["--agent-node", "beta"], "http://beta:46101"),
        (["--agent_port", "5000"], "http://localhost:5000"),
        (["--master_node", "beta", "--master_port", "1"], "http://beta:1"),
        (["--agent-node", "::1", "--agent-port", "1"], "http://[::1]:1"),
        (["--agent-node", "[::1]"], "http://[::1]:46101"),
        (["--agent-node", "https://beta:7"], "https://beta:7"),
        (["--agent", "https://gamma:9"], "https://gamma:9"),
    ],
)
def test_the_agent_is_found_by_what_the_line_says(
    words: list[str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host and port, an address, and COMPSs' synonyms lead to one place."""
    asked: list[object] = []

    def find(place: object, _token: object = None) -> object:
        asked.append(place)
        raise ConfigError("far enough")

    monkeypatch.setattr(target, "find", find)
    with pytest.raises(ConfigError, match="far enough"):
        target.agent_of(parse(["call", *words, "m:f"]))
    assert asked == [address]


@pytest.mark.parametrize(
    "words",
    [
        ["--agent", "a:1", "--agent-port", "2"],
        ["--agent", "a:1", "--state", "s"],
        ["--state", "s", "--agent-node", "h"],
    ],
)
def test_an_agent_is_named_once(words: list[str]) -> None:
    """Two ways at once are wrong usage, not a silent choice."""
    with pytest.raises(UsageError, match="name the agent once"):
        target.agent_of(parse(["call", *words, "m:f"]))


def test_a_token_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(AgentdError, match="--token-file"):
        target.agent_of(parse(["status", "--agent", "http://127.0.0.1:9", "--token-file", str(tmp_path / "none")]))


def test_capacity_is_read_from_the_options_of_compss() -> None:
    """GB become MiB, what COMPSs calls unassigned or -1 is unknown, no CPU said is one."""
    said = "--cpu 4 --cpu-name arm --gpu 1 --mem-size 2 --mem-type DDR --os-type Linux --os-version [unassigned]"
    assert capacity_of(parse(["resources", "add", *said.split(), "b"])) == {
        "processors": [{"units": 4, "kind": "CPU", "name": "arm"}, {"units": 1, "kind": "GPU"}],
        "memory_mib": 2048,
        "memory_type": "DDR",
        "os_type": "Linux",
    }
    assert capacity_of(parse(["resources", "add", "--mem-size", "-1", "b"])) == {
        "processors": [{"units": 1, "kind": "CPU"}]
    }


@pytest.mark.parametrize(
    "words",
    [
        ["--cpu", "many"],
        ["--cpu=-1"],
        ["--gpu", "²"],
        ["--mem-size", "x"],
        ["--mem-size", "nan"],
        ["--mem-size", "inf"],
    ],
)
def test_a_capacity_that_is_none_is_refused(words: list[str]) -> None:
    """The option is named."""
    with pytest.raises(UsageError, match=words[0].partition("=")[0]):
        capacity_of(parse(["resources", "add", *words, "b"]))
