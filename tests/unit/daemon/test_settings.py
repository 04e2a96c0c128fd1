"""Flags beat the environment, which beats the file, which beats the defaults; every wrong setting is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.api.places import state_folder
from agentd.daemon.readings import AUTO, OFF
from agentd.daemon.settings import Settings, resolve
from agentd.model.errors import ConfigError


def settings(folder: Path, flags: dict[str, object] | None = None, **environment: str) -> Settings:
    """Resolve with a state folder of the test's own."""
    return resolve(
        {"state": str(folder), **(flags or {})}, {f"AGENTD_{name}": text for name, text in environment.items()}
    )


def test_defaults_are_closed(tmp_path: Path) -> None:
    """Nothing said: both doors on loopback, the current folder for users' code."""
    found = settings(tmp_path)
    assert (found.rest_host, found.comm_host, found.local_access) == ("127.0.0.1", "127.0.0.1", "code")
    assert found.pythonpath == (Path.cwd(),)


def test_the_nearest_word_counts(tmp_path: Path) -> None:
    """Each source beats the one below it, and says so."""
    (tmp_path / "agentd.toml").write_text('cpu = 1\nhop-limit = 3\nallow = ["math", "json"]\n')
    found = settings(tmp_path, {"hop_limit": 5}, CPU="2", HOP_LIMIT="4")
    assert (found.cpu, found.hop_limit, found.allow) == (2, 5, ("math", "json"))
    assert found.origins["cpu"] == "environment variable AGENTD_CPU"
    assert found.origins["hop_limit"] == "option --hop-limit"
    assert found.origins["allow"].endswith("agentd.toml, line 3")


@pytest.mark.parametrize("name", ["state", "log_dir", "ready_file", "project"])
def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, name: str) -> None:
    """`--state "$UNSET"` of a shell is a mistake, which must not make an agent's folder of where one happens to be."""
    with pytest.raises(ConfigError, match=f"option --{name.replace('_', '-')}: '' is no value"):
        settings(tmp_path, {name: ""})


def test_an_empty_variable_for_the_state_folder_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The agent and the commands read it in the same way: as if it was not there."""
    monkeypatch.setenv("AGENTD_STATE", "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert resolve({}).state == state_folder() == tmp_path / "agentd"


@pytest.mark.parametrize(("text", "port"), [("auto", AUTO), ("0", OFF), ("-1", OFF), ("8080", 8080)])
def test_ports(tmp_path: Path, text: str, port: int) -> None:
    """A number, `auto`, or 0 and less to leave the door closed."""
    assert settings(tmp_path, {"rest_port": text}).rest_port == port


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"rest_port": "65536"}, "--rest-port"),
        ({"rest_port": "http"}, "--rest-port"),
        ({"cpu": "-1"}, "--cpu"),
        ({"local_access": "root"}, "none, read"),
        ({"hostname": "a b"}, "--hostname"),
        ({"lease_s": "1"}, "lease"),
        ({"rest_port": "0", "comm_port": "0"}, "at least one"),
        ({"rest_port": "7", "comm_port": "7"}, "both 7"),
        ({"rest_host": "0.0.0.0"}, "--rest-tls, .*--insecure"),
        ({"log_level": "loud"}, "off, info"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, flags: dict[str, object], words: str) -> None:
    """The error names the option and what is expected."""
    with pytest.raises(ConfigError, match=words):
        settings(tmp_path, flags)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cpu = 'x'", "line 1"),
        ("cpus = 1", "line 1: unknown setting 'cpus'; did you mean cpu?"),
        ("wonder = 1", "known are allow, "),
        ("cpu = ", "agentd.toml"),
        ("state = '/x'", "--state"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """A wrong value, name or syntax of the file stops the start."""
    (tmp_path / "agentd.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        settings(tmp_path)


def test_folders_of_the_field_join_the_path(tmp_path: Path) -> None:
    """--appdir and --classpath add to --pythonpath."""
    found = settings(tmp_path, {"pythonpath": "/a:/b", "appdir": "/c", "classpath": "/d"})
    assert found.pythonpath == (Path("/a"), Path("/b"), Path("/c"), Path("/d"))


def test_a_variable_that_nobody_reads_is_told_with_what_was_meant(tmp_path: Path) -> None:
    """A name that is nearly one of ours is remarked upon; those of commands, clusters and other programs are not."""
    others = {
        "TOKEN": "t",
        "CONFIG": "c",
        "SERVICE_HOST": "h",
        "PORT": "tcp://h",
        "PORT_46101_TCP_PORT": "p",
        "CPU": "1",
    }
    assert settings(tmp_path, **others).remarks == ()
    misspelt, unknown = settings(tmp_path, LEASE="9", XYZZY="1").remarks
    assert "AGENTD_LEASE of" in misspelt
    assert "did you mean AGENTD_LEASE_S?" in misspelt
    assert "AGENTD_XYZZY" in unknown
    assert "agentd doctor" in unknown


def test_a_file_in_the_place_of_the_folder_is_left_to_who_opens_it(tmp_path: Path) -> None:
    """It is no fault of the settings file, which cannot be there: the one error names the state folder."""
    (tmp_path / "file").touch()
    assert settings(tmp_path / "file").state == tmp_path / "file"
