"""Every option of every COMPSs command, by its old name: known, and with the effect that the page tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.daemon.settings import CONVERTERS, JOINED
from cli.commands import BY_NAME
from cli.options import Effect, Option, options_of
from cli.options_page import effect_of
from cli.parsing import CommandLine, UsageError, parse, program_of

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "commands.md").read_text("utf-8")

EVERYWHERE = "help opts version flower recipe"
RESOURCES = "agent_node agent_port cpu cpu_name gpu fpga mem_type mem_size os_type os_distr os_version"
STARTING = (
    "comm appdir classpath library_path pythonpath project resources log_dir log_level debug jvm_opts "
    "master_port python_interpreter python_propagate_virtual_environment python_mpi_worker python_memory_profile "
    "python_worker_cache python_cache_profiler reuse_resources_on_block scheduler scheduler_config_file input_profile "
    "output_profile summary tracing trace_label generate_trace custom_threads wdir coverage"
)
CALLING = "lang method_name cei array parameters_array"
FIELD: dict[str, str] = {
    "compss_agent_start": f"hostname rest_port comm_port {STARTING} {EVERYWHERE}",
    "compss_agent_call_operation": f"{CALLING} master_node master_port stop forward_to debug execution_opts "
    f"{EVERYWHERE}",
    "compss_agent_add_resources": f"comm {RESOURCES} {EVERYWHERE}",
    "compss_agent_reduce_resources": f"{RESOURCES} {EVERYWHERE}",
    "compss_agent_lost_resources": f"agent_node agent_port {EVERYWHERE}",
    "compss_agent_start_service": "num_agents topology agent_name_prefix exec_time silent verbose "
    f"{CALLING} {STARTING} {EVERYWHERE}",
}
"""What each of COMPSs' commands knows, by its own spelling (source: its scripts and its manual)."""

SAMPLES = {"BOOL": "true", "N": "3", "PORT": "46101", "SECONDS": "5", "GB": "1.5", "LEVEL": "debug", "SCOPE": "read"}
ROWS = [(program, word) for program, words in FIELD.items() for word in words.split()]


def option_of(program: str, word: str) -> Option:
    """Find the row of the tables for a word."""
    command = program_of(program)[0]
    name = word.replace("_", "-")
    if name == "help":
        return Option("help", (command,), "", short="h", is_compss=True)
    (found,) = (option for option in options_of(command) if option.name == name)
    return found


def parsed(program: str, *words: str) -> CommandLine:
    """Parse a line that a user types."""
    command, is_compss = program_of(program)
    arguments = ["thing"] * BY_NAME[command].least
    return parse([*words, *arguments], command=command, is_compss=is_compss)


@pytest.mark.parametrize(("program", "word"), ROWS)
def test_every_option_of_the_field_does_what_the_page_says(program: str, word: str) -> None:
    """With underscores and with dashes, its value behind `=` or behind a space: always the same."""
    option = option_of(program, word)
    value = SAMPLES.get(option.metavar, "a-b") if option.metavar else None
    spellings = (word, word.replace("_", "-"))
    forms = [(f"--{name}",) if value is None else (f"--{name}={value}",) for name in spellings]
    forms += [] if value is None else [(f"--{word}", value)]
    forms += [(f"-{option.short}",)] if option.short and value is None else []
    for form in forms:
        line = parsed(program, *form)
        assert [words for words in line.warnings if "unknown option" in words] == []
        if option.name == "help" or option.effect is Effect.HELP:
            assert line.wants_help
        elif option.effect is Effect.NONE:
            assert line.warnings == [f"--{option.name} has no effect: {option.help}"]
            assert (line.values, line.settings) == ({}, {})
        else:
            into = line.settings if option.effect is Effect.SETTING else line.values
            name, _, fixed = option.target.partition("=")
            assert into == {name: fixed or ([value] if option.many else value or True)}
            assert option.effect is not Effect.SETTING or name in CONVERTERS or name in JOINED


@pytest.mark.parametrize(("program", "word"), [row for row in ROWS if row[1] != "help"])
def test_every_option_of_the_field_has_a_row_on_the_page(program: str, word: str) -> None:
    """It is marked as the field's, names the command, and tells the effect."""
    option = option_of(program, word)
    command = program_of(program)[0]
    rows = [
        row.split(" | ")
        for row in PAGE.splitlines()
        if row.startswith((f"| `--{option.name}` |", f"| `--{option.name}`, `-"))
    ]
    rows = [row for row in rows if f"`{command}`" in row[1] or f"`{command.partition(' ')[0]} …`" in row[1]]
    assert len(rows) == 1, f"--{option.name} of {command} has {len(rows)} rows"
    assert rows[0][4] == "yes"
    assert rows[0][5] == effect_of(option)


def test_nothing_is_marked_as_the_fields_that_is_not() -> None:
    """What bears the mark in the tables is in the list above, and the other way round."""
    ours = {"action", "orchestrator", "log-dir", "agent-node", "agent-port"}
    for program, words in FIELD.items():
        command = program_of(program)[0]
        marked = {option.name for option in options_of(command) if option.is_compss}
        listed = {word.replace("_", "-") for word in words.split()} - {"help"}
        assert marked - listed <= ours
        assert listed - marked == set()


@pytest.mark.parametrize("program", sorted(FIELD))
def test_what_nobody_knows_is_a_warning_under_the_old_names(program: str) -> None:
    """Scripts pass on options of other versions; under ours it is an error."""
    line = parsed(program, "--of_a_later_version=1", "-g")
    assert line.warnings == ["unknown option --of-a-later-version: ignored", "unknown option -g: ignored"]
    command = program_of(program)[0]
    with pytest.raises(UsageError, match="has no option"):
        parse(["--of_a_later_version=1"], command=command, is_compss=False)
