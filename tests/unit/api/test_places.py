"""Where an agent is found, and to whom its token is sent."""

from __future__ import annotations

import json

import pytest

from agentd.api.places import find, of_folder, state_folder
from agentd.model.errors import ConfigError, Unreachable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A state folder in which an agent has announced itself."""
    path = tmp_path / "state"
    path.mkdir()
    ready = {"name": "alpha", "pid": 1, "rest": "http://127.0.0.1:46101", "comm": "127.0.0.1:46102", "boot": "b"}
    (path / "agent.json").write_text(json.dumps(ready))
    (path / "token").write_text("agentd_secret\n")
    monkeypatch.setenv("AGENTD_STATE", str(path))
    monkeypatch.delenv("AGENTD_TOKEN", raising=False)
    return path


def test_the_state_folder_is_named_by_the_environment_or_the_platform(tmp_path, monkeypatch):
    """AGENTD_STATE beats XDG_STATE_HOME, which beats ~/.local/state; a relative XDG path is ignored, as XDG demands."""
    monkeypatch.setenv("AGENTD_STATE", str(tmp_path / "mine"))
    assert state_folder() == tmp_path / "mine"
    monkeypatch.delenv("AGENTD_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder() == tmp_path / "xdg" / "agentd"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "agentd"


def test_the_agent_of_this_device_is_found_with_its_token(folder):
    """No address means the agent of the state folder, and its own token."""
    place = find()
    assert (place.url, place.token, place.name) == ("http://127.0.0.1:46101", "agentd_secret", "alpha")
    assert place.socket is None
    (folder / "agent.sock").touch()
    assert find(folder).socket == folder / "agent.sock"


def test_a_token_is_never_shown(folder):
    """A place can be logged."""
    assert "agentd_secret" not in repr(find())


@pytest.mark.parametrize("address", ["http://127.0.0.1:46101", "localhost:46101", "127.0.0.1:46101/"[:-1]])
def test_the_own_agent_gets_its_token_under_any_name(folder, address):
    """Addressing the own agent by loopback finds its token too."""
    assert find(address).token == "agentd_secret"


@pytest.mark.parametrize(
    "address", ["http://example.org:46101", "http://127.0.0.1:46201", "https://192.0.2.7:46101", "127.0.0.2:46101"]
)
def test_the_own_token_goes_nowhere_else(folder, address):
    """A token of this device's agent is not sent to another host or port."""
    assert find(address).token == ""


def test_a_given_token_beats_the_environment_which_beats_the_folder(folder, monkeypatch):
    """What is said most explicitly holds."""
    monkeypatch.setenv("AGENTD_TOKEN", "from-environment")
    assert find("localhost:46101").token == "from-environment"
    assert find("localhost:46101", "given").token == "given"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("localhost:46101", "http://localhost:46101"),
        ("[::1]:46101", "http://[::1]:46101"),
        ("https://fog.example:443/", "https://fog.example:443"),
        ("  http://h:1  ", "http://h:1"),
    ],
)
def test_forms_of_an_address(address, url):
    """host:port and URLs are understood, with or without a slash at the end."""
    assert find(address, "t").url == url


@pytest.mark.parametrize(
    "address",
    [
        "ftp://h:1",
        "http://",
        "http://user:pw@h:1",
        "http://h:1/path",
        "http://h:1?q",
        "http://h:0",
        "h:99999",
        "",
        "  ",
    ],
)
def test_what_is_no_address_is_refused_with_what_to_give(address):
    """A wrong address is the caller's error, found before anything is sent."""
    with pytest.raises(ConfigError, match="address"):
        find(address)


def test_no_agent_here_is_unreachable_and_says_how_to_start_one(tmp_path):
    """An empty folder, a damaged ready file and a missing folder all say the same."""
    for content in (None, "", "[1]", "{"):
        if content is not None:
            (tmp_path / "agent.json").write_text(content)
        with pytest.raises(Unreachable, match="agentd start"):
            of_folder(tmp_path)


def test_a_folder_that_looks_like_host_and_port_is_a_folder(tmp_path, monkeypatch):
    """What exists here is meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "host:1").mkdir()
    with pytest.raises(Unreachable, match="no agent"):
        find("host:1")
