"""An agent remembers what functions take."""

from __future__ import annotations

import json

from tests.integration.daemon_rig import WITH_APPS, Door


def test_what_was_learned_survives_a_restart_and_can_be_given_away(start_agent, tmp_path):
    """The profile is written at the end, taken up at the next start, and written for the operator too."""
    out = tmp_path / "out.json"
    agent = start_agent(*WITH_APPS, "--output-profile", str(out))
    assert Door(agent.rest, agent.state).submit("sums:increment", 1, wait_s=60)["state"] == "done"
    assert agent.stop() == 0
    kept = json.loads((agent.state / "profile.json").read_text())
    assert kept == json.loads(out.read_text())
    assert kept["implementations"]["sums:increment"]["executions"] == 1
    kept["implementations"]["sums:increment"]["executions"] = 41
    (agent.state / "profile.json").write_text(json.dumps(kept))
    again = start_agent(*WITH_APPS, state=agent.state)
    assert again.stop() == 0
    assert json.loads((agent.state / "profile.json").read_text()) == kept


def test_a_damaged_profile_is_no_reason_not_to_start(start_agent, tmp_path):
    """It is only speed that is lost, and the log says so."""
    agent = start_agent()
    assert agent.stop() == 0
    (agent.state / "profile.json").write_text("{")
    again = start_agent(state=agent.state)
    assert again.stop() == 0
    assert "run times are learned anew" in again.stderr
