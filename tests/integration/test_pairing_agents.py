"""Real agents of one device, each with a state folder of its own, that come to trust each other, and cease to."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentd.api import AgentExecutor, connect
from agentd.model.errors import RequestError, Unreachable
from tests.conftest import RunningAgent, StartAgent, agent_environment
from tests.fakes.nursery import Nursery
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

LOOK_S = 0.02


class Device:
    """One agent, its user port, and its terminal."""

    def __init__(self, agent: RunningAgent, config: Path, terminal: Nursery) -> None:
        self.agent = agent
        self._terminal = terminal
        self.config = config
        self._door: Door | None = None

    @property
    def name(self) -> str:
        return self.agent.name

    @property
    def door(self) -> Door:
        if self._door is None:
            self._door = Door(self.agent.rest, self.agent.state)
        return self._door

    def type(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Type a command for this agent."""
        environment = agent_environment(AGENTD_STATE=str(self.agent.state), AGENTD_CONFIG=str(self.config))
        return self._terminal.run(words, Path.cwd(), environment, given=given, timeout=PATIENCE_S)

    def used_from(self, config: Path) -> Device:
        """Give the same agent, to somebody else."""
        return Device(self.agent, config, self._terminal)

    def says(self, *words: str) -> Any:
        """Type a command that must succeed, and read its JSON."""
        done = self.type(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def invite(self, *words: str) -> str:
        done = self.type("invite", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def peer(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(row for row in self.says("peers")["peers"] if row["name"] == name)
        return found

    def until(self, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for what this agent says of a neighbour."""
        end_s = time.monotonic() + PATIENCE_S
        while True:
            rows = self.door.get("/v1/neighbours")["neighbours"]
            row = next((row for row in rows if row["name"] == name), {})
            if row and holds(row):
                return row
            assert time.monotonic() < end_s, f"{self.name} says of {name}: {row}"
            time.sleep(LOOK_S)

    def linked(self, name: str) -> None:
        self.until(name, lambda row: row["state"] == "connected")


@pytest.fixture
def start_device(start_agent: StartAgent, terminal: Nursery, tmp_path: Path) -> Callable[..., Device]:
    """Start agents that are called as said, with a core each unless said otherwise."""

    def start(name: str, *options: str, cores: int = 1, **more: Any) -> Device:
        words = (*WITH_APPS, "--hostname", name, "--cpu", str(cores), "--heartbeat-s", "0.2", *options)
        return Device(start_agent(*words, **more), tmp_path / f"config-{name}", terminal)

    return start


@pytest.fixture
def pair(start_device: Callable[..., Device]) -> tuple[Device, Device]:
    """A server and a phone that joined it; each lends to the other."""
    server, phone = start_device("server"), start_device("phone")
    joined = phone.type("join", server.invite())
    assert joined.returncode == 0, joined.stderr
    assert server.type("resources", "add", "phone").returncode == 0
    server.linked("phone")
    phone.linked("server")
    return server, phone


def hosts(ended: list[dict[str, Any]]) -> list[str]:
    """Tell where tasks ran, by name."""
    return sorted(one["ran_on"] for one in ended)


# --- together ------------------------------------------------------------------------------------------------------


def test_two_commands_make_a_pair(pair: tuple[Device, Device], tmp_path: Path) -> None:
    """Work goes both ways over TLS, and both books say the same, each with its own certificate's fingerprint."""
    server, phone = pair
    for asked in (server, phone):
        ended = asked.door.at_once(tmp_path, 2)
        assert {one["state"] for one in ended} == {"done"}
        assert hosts(ended) == ["phone", "server"]
    doctor = {row["name"]: row["found"] for row in phone.says("doctor")["checks"]}
    assert server.peer("phone")["fingerprint"] in doctor["identity"]
    assert doctor["peers"] == "server"


def test_a_peer_stops_this_agent_only_where_that_is_allowed(
    pair: tuple[Device, Device], start_device: Callable[..., Device]
) -> None:
    """`forwardTo` goes over the link, without --callback-host; who may not stop the other is told what to do."""
    server, phone = pair
    words = ("call", "--stop", "--forward_to", server.agent.rest.removeprefix("http://"), "sums:count_bytes", "four")
    assert _was_stopped(phone.type(*words))
    assert phone.agent.process.wait(PATIENCE_S) == 0
    log = (phone.agent.state / "log" / "agent.log").read_text()
    assert log.count("agentd peers limit phone --may-stop yes, there") == 1
    assert server.agent.process.poll() is None
    phone = start_device("phone", state=phone.agent.state)
    server.linked("phone")
    assert server.says("peers", "limit", "phone", "--may-stop", "yes")["may_stop"]
    assert _was_stopped(phone.type(*words))
    assert server.agent.process.wait(PATIENCE_S) == 0
    assert "phone asked this agent to stop" in (server.agent.state / "log" / "agent.log").read_text()
    assert phone.agent.process.wait(PATIENCE_S) == 0


def _was_stopped(call: subprocess.CompletedProcess[str]) -> bool:
    """Tell whether a call that stops its agent went well; on a busy machine that is gone before it is asked how."""
    return call.returncode == 0 or (call.returncode == 4 and "has stopped, as was asked for" in call.stderr)


def test_a_peer_that_is_added_grants_what_it_reports(start_device: Callable[..., Device]) -> None:
    """Without a figure the operator gets all that the peer has, and is told what that is; also after a restart."""
    server, phone = start_device("server"), start_device("phone", "--memory-mib", "700", cores=3)
    assert phone.type("join", server.invite()).returncode == 0
    server.until("phone", lambda row: row["advertised"]["cores"] == 3)
    added = server.type("resources", "add", "phone")
    assert added.returncode == 0, added.stderr
    assert "phone grants what it reports of itself: 3 CPU, 700 MiB; with --cpu N" in added.stderr
    (row,) = [row for row in server.says("resources")["resources"] if row["name"] == "phone"]
    assert (row["total"]["CPU"], row["memory_mib"], row["declared"]) == (3, 700, False)
    again = server.type("resources", "add", "--cpu", "1", "phone")
    assert (again.returncode, again.stderr) == (0, "")
    assert server.says("resources")["resources"][1]["total"]["CPU"] == 4
    assert "in the pool already, with 4 CPU, 700 MiB" in server.type("resources", "add", "phone").stderr


def test_a_pair_finds_itself_again_after_a_crash(
    pair: tuple[Device, Device], start_device: Callable[..., Device]
) -> None:
    """Key, book and link are on the disk: after `kill -9` of one nobody has to do anything."""
    server, phone = pair
    before = phone.peer("server")["fingerprint"]
    phone.agent.kill()
    server.until("phone", lambda row: row["state"] != "connected")
    again = start_device("phone", state=phone.agent.state)
    again.linked("server")
    server.linked("phone")
    assert again.peer("server")["fingerprint"] == before


def test_joining_reads_the_string_from_its_input(start_device: Callable[..., Device]) -> None:
    """So that it stands in no list of processes; wrapped lines and capitals do no harm."""
    server, phone = start_device("server"), start_device("phone")
    text = server.invite()
    joined = phone.type("join", given=f"  {text[:40].upper()}\n{text[40:]}\n")
    assert joined.returncode == 0, joined.stderr
    phone.linked("server")


def test_a_device_joins_its_parent_if_it_says_so(start_device: Callable[..., Device]) -> None:
    """`join --parent`: work that fits nowhere better goes there; without it they are equals."""
    server, phone, other = start_device("server"), start_device("phone"), start_device("other")
    for device, words in ((phone, ("--parent",)), (other, ())):
        assert device.type("join", server.invite(), *words).returncode == 0
        device.linked("server")
        (row,) = device.door.get("/v1/neighbours")["neighbours"]
        assert row["is_parent"] is bool(words)


# --- invitations ---------------------------------------------------------------------------------------------------


def test_an_invitation_lets_in_one_and_no_more(start_device: Callable[..., Device]) -> None:
    """Replayed by a third device it is refused, on both sides with the name of who used it; the pair goes on."""
    server, phone, thief = start_device("server"), start_device("phone"), start_device("thief")
    text = server.invite()
    assert phone.type("join", text).returncode == 0
    replayed = thief.type("join", text)
    assert replayed.returncode == 3
    assert "used already, by phone" in replayed.stderr
    assert "was refused: the invitation was used already, by phone" in server.agent.stderr
    assert [row["name"] for row in server.says("peers")["peers"]] == ["phone"]
    assert thief.says("peers")["peers"] == []
    phone.linked("server")


def test_a_guest_that_comes_over_and_over_fills_no_log(start_device: Callable[..., Device]) -> None:
    """One line tells of it, and one how often more it came; an invitation that it does not know stays good."""
    server, phone, thief = start_device("server"), start_device("phone"), start_device("thief")
    used, fresh = server.invite(), server.invite()
    assert phone.type("join", used).returncode == 0
    body = {"invitation": used}
    for _ in range(30):
        assert thief.door.client.post("/v1/peers", json=body).status_code == 403
    assert server.agent.stderr.count("used already, by phone") == 1
    assert server.agent.stop() == 0
    assert "and 29 more from 127.0.0.1 in the last minute" in server.agent.stderr
    assert fresh not in server.agent.stderr


def test_a_join_that_cannot_be_says_what_to_do(start_device: Callable[..., Device], tmp_path: Path) -> None:
    """Nothing given, a person's string, an agent that nobody can reach, one that is revoked: each with the remedy."""
    server, phone = start_device("server", "--rest-tls"), start_device("phone")
    nobody = server.used_from(tmp_path / "nobody")
    assert "no invitation was given" in phone.type("join", given="\n").stderr
    person = phone.type("join", server.invite("--user", "ann"))
    assert (person.returncode, "`agentd login`" in person.stderr) == (3, True)
    assert "`agentd join`" in nobody.type("login", server.invite()).stderr
    text = server.invite()
    assert server.agent.stop() == 0
    lonely = phone.type("join", text)
    assert lonely.returncode == 3
    assert "only the device of server reaches: start that agent with --comm-host 0.0.0.0" in lonely.stderr


def test_an_invitation_ends(start_device: Callable[..., Device]) -> None:
    """By its time, by the operator's word, and by a restart: each is told apart."""
    server, phone = start_device("server"), start_device("phone")
    short, cancelled, kept = server.invite("--expires", "1"), server.invite(), server.invite()
    ids = [row["id"] for row in server.says("invitations")["invitations"]]
    assert server.type("invitations", "cancel", ids[-2]).returncode == 0
    while ids[0] in [row["id"] for row in server.says("invitations")["invitations"]]:
        pass
    expired = phone.type("join", short)
    assert expired.returncode == 3
    assert "has expired: it was good for 1 s" in expired.stderr
    assert "was cancelled" in phone.type("join", cancelled).stderr
    port = server.agent.comm.rpartition(":")[2]
    assert server.agent.stop() == 0
    start_device("server", "--comm-port", port, state=server.agent.state)
    assert "before its last start" in phone.type("join", kept).stderr
    assert phone.says("peers")["peers"] == []


def test_a_wrong_string_is_told_apart(start_device: Callable[..., Device]) -> None:
    """Mistyped, of another kind, of this very agent: each says what is wrong, and nothing is sent anywhere."""
    server, phone = start_device("server", "--rest-tls"), start_device("phone")
    text = server.invite()
    wrong = text[:-9] + ("a" if text[-9] != "a" else "b") + text[-8:]
    for words, expected in (
        (("join", wrong), "mistyped or cut"),
        (("join", "hello"), "begins with agentd1_"),
        (("join", server.invite("--user", "ann")), "use it with `agentd login`"),
        (("login", text), "use it with `agentd join`"),
    ):
        done = phone.type(*words)
        assert done.returncode in {2, 3}
        assert expected in done.stderr
    assert "this very agent" in server.type("join", text).stderr
    assert phone.type("join", text).returncode == 0


# --- limits and the end of trust -----------------------------------------------------------------------------------


def test_a_peer_with_rights_for_one_function(pair: tuple[Device, Device], tmp_path: Path) -> None:
    """That one runs there; another one stays at home, and its owner is told why."""
    server, phone = pair
    assert server.type("peers", "limit", "phone", "--allow-function", "sums:beside").returncode == 0
    assert hosts(phone.door.at_once(tmp_path, 2)) == ["phone", "server"]
    held = [phone.door.submit("sums:stubborn", 0.2)["id"] for _ in range(4)]
    assert {phone.door.wait(one)["ran_on"] for one in held} == {"phone"}
    row = phone.until("server", lambda row: bool(row["refusal"]))
    assert row["refusal"] == "agent server limits phone: it may call only sums:beside"
    assert phone.says("status")["neighbours"][0]["refusal"] == row["refusal"]
    assert server.type("peers", "limit", "phone", "--submit-upward", "no").returncode == 0
    asked = phone.door.batch([{"function": "sums:beside", "args": [str(tmp_path / "note"), __file__]}] * 4)
    assert {phone.door.wait(one["operation"]["id"])["ran_on"] for one in asked} == {"phone"}
    assert hosts(server.door.at_once(tmp_path, 2)) == ["phone", "server"]


def test_limits_that_are_not_named_stay(pair: tuple[Device, Device]) -> None:
    """One limit more takes no other away, looking at them changes none, and only --lift ends them."""
    server, _ = pair

    def limit(*options: str) -> tuple[object, ...]:
        row = server.says("peers", "limit", "phone", *options)
        return row["functions"], row["max_tasks"], row["submit_upward"], row["may_stop"]

    assert limit("--allow-function", "sums:nap", "--may-stop", "yes") == (["sums:nap"], None, True, True)
    assert limit("--submit-upward", "no", "--max-tasks", "2") == (["sums:nap"], 2, False, True)
    assert limit() == (["sums:nap"], 2, False, True)
    assert limit("--allow-function", "sums:increment") == (["sums:increment"], 2, False, True)
    assert limit("--lift", "--max-tasks", "3") == ([], 3, True, False)
    with connect(server.agent.state) as agent:
        assert agent.change_peer("phone", limits={"max_tasks": None}).max_tasks is None


def test_a_revoked_peer_is_out_at_once(
    pair: tuple[Device, Device], start_device: Callable[..., Device], tmp_path: Path
) -> None:
    """Its live link ends with the reason on both sides, what it held runs elsewhere, and the others keep theirs.

    It stays out after a crash of the agent that revoked it, until the two are paired anew.
    """
    server, phone = pair
    friend = start_device("friend")
    assert friend.type("join", server.invite()).returncode == 0
    server.linked("friend")
    note, gate = tmp_path / "note", tmp_path / "gate"
    held = [server.door.submit("sums:held", str(note), str(gate))["id"] for _ in range(2)]
    server.until("phone", lambda row: row["running"] > 0)
    revoked = server.type("peers", "revoke", "phone", "--reason", "stolen")
    assert revoked.returncode == 0, revoked.stderr
    assert (server.peer("phone")["state"], server.peer("phone")["revoked"]) == ("revoked", "stolen")
    phone.until("server", lambda row: "the pairing was revoked: stolen" in row["why_not"])
    gate.touch()
    ended = [server.door.wait(one) for one in held]
    assert {one["state"] for one in ended} == {"done"}
    assert {one["ran_on"] for one in ended} <= {"server", "friend"}
    friend.linked("server")
    again = server.type("resources", "add", "phone")
    assert again.returncode == 3
    assert "agentd invite" in again.stderr
    server.agent.kill()
    port = server.agent.comm.rpartition(":")[2]
    back = start_device("server", "--comm-port", port, state=server.agent.state)
    friend.linked("server")
    phone.until("server", lambda row: "the pairing was revoked: stolen" in row["why_not"])
    assert phone.type("join", back.invite()).returncode == 0
    phone.linked("server")


# --- people --------------------------------------------------------------------------------------------------------


def test_a_person_logs_in_and_is_logged_out(start_device: Callable[..., Device], tmp_path: Path) -> None:
    """With the certificate and the token of one string: commands, clients and the executor; without them, nobody."""
    server = start_device("server", "--rest-tls", "--local-access", "none")
    elsewhere = server.used_from(tmp_path / "ann")
    entered = elsewhere.type("login", server.invite("--user", "ann", "--scope", "code"))
    assert entered.returncode == 0, entered.stderr
    assert "logged in at server as ann, scope code" in entered.stdout
    url = server.agent.rest
    kept = tmp_path / "ann" / "logins.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert elsewhere.type("call", "--agent", url, "sums:increment", "4").stdout == "5\n"
    assert server.type("token", "revoke", "ann").returncode == 0
    assert elsewhere.type("logout", url).returncode == 0
    assert "logins" not in {row["name"] for row in elsewhere.says("doctor")["checks"]}


def test_clients_believe_the_certificate_of_the_login_alone(
    start_device: Callable[..., Device], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same port with another key is refused before the token is sent, whoever signed it."""
    monkeypatch.setenv("AGENTD_CONFIG", str(tmp_path / "ann"))
    monkeypatch.setenv("AGENTD_STATE", str(tmp_path / "no-agent-here"))
    server = start_device("server", "--rest-tls")
    url = server.agent.rest
    with pytest.raises(Unreachable, match="agentd login"):
        connect(url).agent()
    ann = server.used_from(tmp_path / "ann")
    assert ann.type("login", server.invite("--user", "ann", "--scope", "code")).returncode == 0
    with connect(url) as agent:
        assert agent.call("sums:increment", 4) == 5
    with AgentExecutor(url) as agents:
        assert list(agents.map(abs, [-1, 2, -3])) == [1, 2, 3]
    assert server.agent.stop() == 0
    (server.agent.state / "identity.pem").unlink()
    start_device("server", "--rest-tls", "--rest-port", url.rpartition(":")[2], state=server.agent.state)
    with pytest.raises(Unreachable, match="another certificate than the one that was pinned"):
        connect(url).agent()


def test_a_login_is_used_once(start_device: Callable[..., Device], tmp_path: Path) -> None:
    """Whoever comes second with a person's invitation is refused, and so is a name that is taken."""
    server = start_device("server", "--rest-tls")
    text = server.invite("--user", "ann")
    first, second = (server.used_from(tmp_path / name) for name in ("ann", "bob"))
    assert first.type("login", text).returncode == 0
    refused = second.type("login", text)
    assert refused.returncode == 3
    assert "used already, by ann" in refused.stderr
    assert "a login from 127.0.0.1 was refused: the invitation was used already, by ann" in server.agent.stderr
    assert not (tmp_path / "bob" / "logins.json").exists()
    assert "there is a token 'ann' already" in server.type("invite", "--user", "ann").stderr
    plain = start_device("plain")
    assert "--rest-tls" in plain.type("invite", "--user", "ann").stderr


# --- open to others ------------------------------------------------------------------------------------------------


def test_the_first_start_shows_a_token_once(start_device: Callable[..., Device]) -> None:
    """With --first-token: on stdout and nowhere else, with the certificate; never again from the same state folder."""
    options = ("--rest-tls", "--rest-host", "0.0.0.0", "--comm-host", "0.0.0.0", "--first-token")
    server = start_device("kitchen", *options, "--local-access", "none")
    said = server.agent.stdout
    token = said.split("first start: token ")[1].split()[0]
    assert server.says("doctor")["checks"]
    assert any(row["found"].endswith(said.split("sha256 ")[1].strip()) for row in server.says("doctor")["checks"])
    asked = httpx.get(
        f"{server.agent.rest}/v1/resources", headers={"authorization": f"Bearer {token}"}, verify=False, trust_env=False
    )
    assert asked.status_code == 200
    assert httpx.get(f"{server.agent.rest}/v1/resources", verify=False, trust_env=False).status_code == 401
    kept = b"".join(path.read_bytes() for path in server.agent.state.rglob("*") if path.is_file())
    assert token.encode() not in kept + server.agent.stderr.encode()
    assert server.agent.stop() == 0
    again = start_device("kitchen", *options, state=server.agent.state)
    assert "token" not in again.agent.stdout


def test_insecure_is_said_loudly(start_device: Callable[..., Device]) -> None:
    """At each start on stderr, in /health for everybody, and by the doctor."""
    state: Path | None = None
    for _ in range(2):
        server = start_device("server", "--insecure", "--rest-host", "0.0.0.0", state=state)
        assert "--insecure: whoever reaches the ports" in server.agent.stderr
        health = httpx.get(f"{server.agent.rest}/health", trust_env=False).json()
        assert any("--insecure" in warning for warning in health["warnings"])
        open_doors = next(
            row for row in json.loads(server.type("doctor", "--json").stdout)["checks"] if row["name"] == "exposure"
        )
        assert (open_doors["verdict"], "0.0.0.0" in open_doors["found"]) == ("bad", True)
        state = server.agent.state
        assert server.agent.stop() == 0


def test_the_client_says_what_the_routes_say(pair: tuple[Device, Device]) -> None:
    """Invite, list, name, limit, revoke and forget as methods; each refusal has its reason."""
    server, _ = pair
    with connect(server.agent.state) as agent:
        made = agent.invite("", expires_s=60)
        assert made.invitation.startswith("agentd1_")
        assert [row.id for row in agent.invitations()] == [made.id]
        agent.cancel_invitation(made.id)
        assert not list(agent.invitations())
        assert agent.change_peer("phone", new_name="tablet").name == "tablet"
        assert agent.change_peer("tablet", limits={"max_tasks": 3}).max_tasks == 3
        with pytest.raises(RequestError, match="revoke it first"):
            agent.forget_peer("tablet")
        assert agent.revoke_peer("tablet", "lost").revoked == "lost"
        agent.forget_peer("tablet")
        assert list(agent.peers()) == []
        with pytest.raises(RequestError, match="not paired with any 'tablet'"):
            agent.revoke_peer("tablet", "")
