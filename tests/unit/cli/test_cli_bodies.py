"""What `call` and `resources` make of their arguments."""

from __future__ import annotations

import pytest

from agentd.model.errors import ConfigError
from cli.call import _body, seconds, value_of
from cli.parsing import UsageError, parse
from cli.resources import capacity_of


def body(*words: str, is_compss: bool = False):
    return _body(parse(list(words), command="call", is_compss=is_compss))


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("5", 5),
        ("-2.5", -2.5),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("hello", "hello"),
        ("", ""),
        ("NaN", "NaN"),
        ("[NaN]", "[NaN]"),
        ("99999999999999999999", "99999999999999999999"),
        ("[" * 10_000, "[" * 10_000),
        ("01", "01"),
        ("{bad", "{bad"),
    ],
)
def test_an_argument_is_json_where_it_is_json(word, value):
    """Anything else is text, as it was typed."""
    assert value_of(word) == value
    assert type(value_of(word)) is type(value)


def test_targets():
    """`module:function`, a module (its `main`), and what a COMPSs name makes of them."""
    assert body("m:f", "1", "x") == {"function": "m:f", "args": [1, "x"]}
    assert body("pkg.mod") == {"function": "pkg.mod:main"}
    assert body("mod.py", "1", is_compss=True) == {"function": "mod:main", "args": ["1"]}


def test_arguments_are_text_in_the_manner_of_compss():
    """With --lang, --method_name or --array, or under a COMPSs name."""
    assert body("--lang=PYTHON", "m:f", "1") == {"function": "m:f", "args": ["1"]}
    assert body("--method_name=go", "m", "1") == {"function": "m:go", "args": ["1"]}
    assert body("--array", "m:f", "1", "2") == {"function": "m:f", "args": [["1", "2"]]}
    assert body("m:f", "1", is_compss=True) == {"function": "m:f", "args": ["1"]}


def test_named_arguments():
    """Only with --kwargs, and only where the name is one."""
    assert body("m:f", "a=1") == {"function": "m:f", "args": ["a=1"]}
    assert body("--kwargs", "m:f", "a=1", "2", "x-y=3", "b={}") == {
        "function": "m:f",
        "args": [2, "x-y=3"],
        "kwargs": {"a": 1, "b": {}},
    }


def test_options_of_an_operation():
    """They go into the body as the REST interface has them."""
    assert body(
        "--constraint", "computing-units=2", "--constraint=software=numpy", "--name", "n", "--key=k", "--priority=-3",
        "--run-timeout=9", "m:f",
    ) == {
        "function": "m:f",
        "constraints": {"computing_units": 2, "software": "numpy"},
        "name": "n",
        "key": "k",
        "priority": -3,
        "timeout_s": 9.0,
    }  # fmt: skip


def test_a_program_that_is_here_goes_by_value(tmp_path, monkeypatch):
    """Its source travels, its arguments are text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prog.py").write_text("print('ü')", "utf-8")
    assert body("prog.py", "1", "x") == {"function": "prog.py", "script": "print('ü')", "args": ["1", "x"]}


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("missing.py",), "no file"),
        (("--method-name=g", "m:f"), "named twice"),
        (("--lang=JAVA", "m"), "JAVA is not supported"),
        (("--lang=C", "m"), "C is not supported"),
        (("--constraint", "gpus", "m:f"), "NAME=VALUE"),
        (("--priority=high", "m:f"), "whole number"),
        (("--run-timeout=soon", "m:f"), "seconds"),
    ],
)
def test_a_call_that_cannot_be_is_refused_before_anything_is_sent(words, match):
    """With what to give instead."""
    with pytest.raises(UsageError, match=match):
        body(*words)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (768 * 1024 + 1)], ids=["not UTF-8", "too large"])
def test_a_program_that_cannot_travel_is_refused(tmp_path, monkeypatch, content):
    """Its size and its text are looked at before."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prog.py").write_bytes(content)
    with pytest.raises(ConfigError, match=r"prog\.py"):
        body("prog.py")


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "x", ""])
def test_times_are_seconds_from_zero(text):
    """Anything else is refused."""
    with pytest.raises(UsageError, match="seconds"):
        seconds(parse([f"--timeout={text}", "m"], command="call"), "timeout")


def capacity(*words: str):
    return capacity_of(parse([*words, "beta"], command="resources add"))


def test_capacities():
    """As in the field: one CPU by default, counts of 0 left out, memory in GB, -1 and [unassigned] unknown."""
    assert capacity() == {"processors": [{"units": 1, "kind": "CPU"}]}
    assert capacity("--cpu=0", "--gpu=2", "--fpga", "1") == {
        "processors": [{"units": 2, "kind": "GPU"}, {"units": 1, "kind": "FPGA"}]
    }
    assert capacity("--cpu_name=MainProcessor", "--mem_size=1.5", "--os_type=Linux", "--os_distr=[unassigned]") == {
        "processors": [{"units": 1, "kind": "CPU", "name": "MainProcessor"}],
        "memory_mib": 1536,
        "os_type": "Linux",
    }
    assert "memory_mib" not in capacity("--mem-size=-1")


@pytest.mark.parametrize("words", [("--cpu=two",), ("--gpu=-1",), ("--mem-size=much",)])
def test_figures_that_are_none_are_refused(words):
    """By name."""
    with pytest.raises(UsageError, match=words[0].partition("=")[0]):
        capacity(*words)
