"""What is asked of workers: to keep out of the state folder, unless tasks would lose what they are meant to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.daemon.confinement import OFF, confinement
from agentd.daemon.settings import Settings, resolve
from agentd.model.errors import ConfigError


def settings(state: Path, **flags: object) -> Settings:
    """Resolve with users' code in a folder beside the state."""
    return resolve({"state": str(state), "pythonpath": str(state.parent / "code"), **flags}, {})


def test_by_default_all_but_what_is_announced_is_kept(tmp_path: Path) -> None:
    """The folder with what tasks need to call their agent is shown, and nothing else."""
    found = confinement(settings(tmp_path / "state"))
    assert (found.mode, found.shown) == ("auto", (str(tmp_path / "state" / "announced"),))


def test_users_folders_below_are_shown(tmp_path: Path) -> None:
    """Modules may lie in a folder of the state folder, which is then no secret."""
    state = tmp_path / "state"
    (state / "functions").mkdir(parents=True)
    found = confinement(settings(state, pythonpath=f"{state / 'functions'}:{state / 'missing'}:{tmp_path}"))
    assert found.shown == (str(state / "announced"), str(state / "functions"))


def test_users_code_in_the_folder_itself_rules_it_out(tmp_path: Path) -> None:
    """What would keep users' modules from being found is not done, and is an error for who insists."""
    found = confinement(settings(tmp_path, pythonpath=str(tmp_path)))
    assert found.mode == OFF
    assert f"runs in {tmp_path}" in found.why_not
    with pytest.raises(ConfigError, match="choose another --state"):
        confinement(settings(tmp_path, pythonpath=str(tmp_path), confine="strict"))


@pytest.mark.parametrize(
    ("allowed", "mode"), [("singularity", OFF), ("/opt/bin/apptainer", OFF), ("docker,mpirun", "auto"), ("ls", "auto")]
)
def test_tasks_that_make_containers_may_mount(tmp_path: Path, allowed: str, mode: str) -> None:
    """An engine that must mount is named by the operator, who thereby lets it; an insisting one is obeyed."""
    found = confinement(settings(tmp_path / "state", allow_binary=allowed))
    assert found.mode == mode
    assert allowed.rpartition("/")[2] in found.why_not or mode != OFF
    assert confinement(settings(tmp_path / "state", allow_binary=allowed, confine="strict")).mode == "strict"


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """Then nothing is asked, for that reason."""
    assert confinement(settings(tmp_path / "state", confine="off")) == (OFF, (), "--confine off")
