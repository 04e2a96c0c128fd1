"""A command line becomes a command and its values by the tables alone."""

from __future__ import annotations

import contextlib
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.daemon.settings import CONVERTERS, JOINED
from cli.commands import BY_NAME, COMMANDS, PROGRAMS
from cli.options import OPTIONS, Effect, Option, options_of
from cli.parsing import CommandLine, UsageError, parse, program_of


def line(*words: str, **more) -> CommandLine:
    return parse(list(words), **more)


# --- the tables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_carried_out_by_something(command):
    """The table names functions that are there; each has an example that its own parser takes."""
    module, _, function = command.run.partition(":")
    if command.name != "demo":
        assert callable(getattr(importlib.import_module(module), function))
    words = command.example.replace("'", "").split()
    assert words[0] == "agentd"
    assert parse(words[1:]).command is command


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_no_command_has_two_options_of_one_name(command):
    """Also not two of one letter."""
    options = options_of(command.name)
    names = [option.name for option in options]
    letters = [option.short for option in options if option.short]
    assert len(set(names)) == len(names)
    assert len(set(letters)) == len(letters)


def test_every_option_belongs_to_commands_that_are_there():
    """And says what it does."""
    for option in OPTIONS:
        assert set(option.commands) <= BY_NAME.keys(), option.name
        assert option.help.endswith((".", "…")), option.name


def test_settings_and_options_of_start_are_the_same():
    """Each setting of the daemon has its option, and each option that sets something sets one that is there."""
    set_by_options = {
        option.target.partition("=")[0] for option in options_of("start") if option.effect is Effect.SETTING
    }
    assert set_by_options - JOINED.keys() == CONVERTERS.keys() - {"state"}
    assert set_by_options >= JOINED.keys()


# The options of the field's scripts, as their manual and help texts list them.
FIELD = {
    "start": """hostname rest_port comm_port comm appdir classpath library_path pythonpath project resources log_dir
        log_level debug jvm_opts master_port python_interpreter python_propagate_virtual_environment python_mpi_worker
        python_memory_profile python_worker_cache python_cache_profiler reuse_resources_on_block scheduler
        scheduler_config_file input_profile output_profile summary tracing trace_label generate_trace custom_threads
        wdir coverage version opts flower recipe""",
    "call": """master_node master_port lang method_name cei array parameters_array stop forward_to version opts flower
        recipe""",
    "resources add": """agent_node agent_port comm cpu cpu_name gpu fpga mem_type mem_size os_type os_distr os_version
        version opts flower recipe""",
    "resources reduce": """agent_node agent_port cpu cpu_name gpu fpga mem_type mem_size os_type os_distr os_version
        version opts flower recipe""",
    "resources lost": "agent_node agent_port version opts flower recipe",
}


@pytest.mark.parametrize("command", FIELD)
def test_all_options_of_the_field_are_known(command):
    """Under the same names, marked as such."""
    known = {option.name.replace("-", "_"): option for option in options_of(command)}
    for name in FIELD[command].split():
        assert name in known, name
        assert known[name].is_compss, name


# --- programs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/usr/bin/agentd", ("", False)),
        ("__main__.py", ("", False)),
        ("agent-call-operation", ("call", False)),
        ("/opt/bin/compss_agent_start", ("start", True)),
        ("compss-agent-call-operation", ("call", True)),
        ("agent-lost-resources", ("resources lost", False)),
        ("compss_agent_reduce_resources", ("resources reduce", True)),
    ],
)
def test_the_name_of_the_program_names_the_command(program, expected):
    """In dashes and underscores, with or without a folder."""
    assert program_of(program) == expected


def test_programs_stand_for_commands_that_are_there():
    """Each alias leads somewhere."""
    assert set(PROGRAMS.values()) <= BY_NAME.keys()


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("--lease-s", "9"), ("--lease_s", "9"), ("--lease-s=9",), ("--lease_s=9",)], ids=" ".join
)
def test_dashes_and_underscores_mean_the_same(words):
    """With the value behind it or after an equals sign."""
    assert line("start", *words).settings == {"lease_s": "9"}


def test_underscores_in_values_are_left_alone():
    """Only the name of an option is read both ways."""
    assert line("start", "--state=/a_b").values == {"state": "/a_b"}
    assert line("start", "--pythonpath", "/x_y").settings == {"pythonpath": "/x_y"}


def test_flags_take_no_value_or_a_truth():
    """`--summary`, `--summary=true`, `--summary=false`."""
    assert line("start", "--summary").settings == {"summary": True}
    assert line("start", "--summary=false").settings == {"summary": False}
    with pytest.raises(UsageError, match="no value"):
        line("start", "--summary=perhaps")


def test_options_that_may_be_repeated_make_a_list():
    """In their order."""
    assert line("start", "--allow", "a", "--allow=b").settings == {"allow": ["a", "b"]}


def test_the_last_of_two_values_holds():
    """An option that may not be repeated is overridden."""
    assert line("start", "--cpu", "1", "--cpu", "2").settings == {"cpu": "2"}


def test_one_option_may_stand_for_a_value_of_another():
    """`--debug` is `--log-level debug`."""
    assert line("start", "-d").settings == {"log_level": "debug"}


def test_short_options_can_be_joined_and_take_values():
    """`-o FILE`, `-oFILE`."""
    assert line("result", "1", "-o", "x").text("output") == "x"
    assert line("result", "-ox", "1").text("output") == "x"
    assert line("logs", "-f", "1").flag("follow")


@pytest.mark.parametrize("port", ["-1", "0", "auto"])
def test_a_port_may_be_negative(port):
    """Zero or less closes an interface, so a value may begin with a dash."""
    assert line("start", "--rest-port", port).settings == {"rest_port": port}
    assert line("start", f"--rest_port={port}").settings == {"rest_port": port}


def test_what_follows_the_target_of_a_call_is_users():
    """Options end there, even those that `call` itself knows."""
    parsed = line("call", "--no-wait", "m:f", "--json", "-x", "--", "1")
    assert parsed.arguments == ["m:f", "--json", "-x", "--", "1"]
    assert parsed.flag("no_wait")
    assert not parsed.flag("json")


def test_two_dashes_end_the_options():
    """An argument may then look like one."""
    assert line("show", "--", "--tasks").arguments == ["--tasks"]


def test_options_may_stand_before_or_behind_the_arguments_elsewhere():
    """As with most commands of today."""
    assert line("show", "7", "--tasks").flag("tasks")
    assert line("show", "--tasks", "7").arguments == ["7"]


def test_an_option_with_two_values():
    """`--from-xml P R`."""
    assert line("resources", "--from-xml", "p.xml", "r.xml").text("from_xml") == "p.xml\nr.xml"


def test_groups_and_their_commands():
    """`resources` alone shows, `resources add` adds, also as one word of an alias."""
    assert line("resources").command.name == "resources"
    assert line("resources", "add", "beta").command.name == "resources add"
    assert line("beta", "Port=1", command="resources add").arguments == ["beta", "Port=1"]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("bogus",), "no command"),
        (("statsu",), "status"),
        (("show",), "needs ID"),
        (("show", "1", "2"), "does not take"),
        (("show", "--task", "1"), "did you mean --tasks"),
        (("show", "-x", "1"), "-x"),
        (("start", "--cpu"), "needs N"),
        (("start", "--cpu", "--summary"), "needs N"),
        (("resources", "--from-xml", "p.xml"), "PROJECT RESOURCES"),
    ],
)
def test_a_wrong_line_is_refused_with_what_to_do(words, match):
    """Each way of being wrong has words of its own."""
    with pytest.raises(UsageError, match=match):
        line(*words)


def test_under_a_name_of_compss_an_unknown_option_is_a_warning():
    """As in COMPSs, where scripts pass options that are not for this command."""
    parsed = line("--classpath=/x", "--bogus", "m", "1", command="call", is_compss=True)
    assert parsed.arguments == ["m", "1"]
    assert parsed.warnings == ["unknown option --classpath: ignored", "unknown option --bogus: ignored"]
    with pytest.raises(UsageError):
        line("--bogus", "m", command="call")


def test_options_without_effect_are_accepted_and_said():
    """They are known by name, with or without a truth behind them, and change nothing."""
    parsed = line("start", "--jvm_opts=-Xmx1g", "--tracing", "--python_worker_cache=true", "-t", "--cpu", "2")
    assert parsed.settings == {"cpu": "2"}
    assert [warning.split()[0] for warning in parsed.warnings] == [
        "--jvm-opts",
        "--tracing",
        "--python-worker-cache",
        "--tracing",
    ]


@pytest.mark.parametrize("words", [("show", "--help"), ("show", "-h"), ("call", "--help")])
def test_help_needs_no_arguments(words):
    """It is asked for by who does not know them."""
    assert line(*words).wants_help


values = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(option=st.sampled_from(OPTIONS), value=values)
def test_no_value_is_lost_or_changed(option: Option, value):
    """Whatever text is given with an equals sign is found under the option's target, or refused in words."""
    name = option.commands[0]
    arguments = ["x"] * BY_NAME[name].least
    text = value if option.metavar else "true"
    try:
        parsed = line(*name.split(), f"--{option.name}={text}", *arguments)
    except UsageError:
        assert option.effect is Effect.REFUSED
        return
    found = {**parsed.values, **parsed.settings}
    target, _, fixed = option.target.partition("=")
    if option.effect in {Effect.NONE, Effect.HELP}:
        assert not found
    else:
        assert found[target] in (text, [text], True, fixed)


@given(words=st.lists(values, max_size=6), is_compss=st.booleans())
def test_no_line_breaks_the_parser(words, is_compss):
    """Anything is either a parsed line or a `UsageError`."""
    with contextlib.suppress(UsageError):
        assert parse(words, command="resources add", is_compss=is_compss).command.name == "resources add"
