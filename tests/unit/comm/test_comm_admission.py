"""Who may come in, and as what; what must not leave the device; which of two connections stays."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agentd.comm.roster import Neighbour, Roster
from agentd.comm.trust.admission import Admission, Denial, Grant, Origin
from agentd.comm.trust.security import Security
from agentd.model.addresses import is_loopback
from agentd.model.errors import ConfigError
from agentd.wire.messages import Hello
from agentd.wire.terms import Life, Terms

ME = 1000
UNIX = Origin(True, "", ME)
LOOPBACK = Origin(False, "127.0.0.1", ME)
OTHER_USER = Origin(False, "127.0.0.1", 1001)
UNTOLD = Origin(False, "127.0.0.1", None)
ELSEWHERE = Origin(False, "192.0.2.7", None)
FORGED = Origin(False, "192.0.2.7", ME)
ROOT_ON_UNIX = Origin(True, "", 0)
PEER = Hello(role="peer", name="alpha", agent_id="id", boot="b")


def judged(hello: Hello, origin: Origin, **rules: object) -> Grant | Denial:
    return Admission(uid=ME, **rules).judge(hello, origin, Terms())


@pytest.mark.parametrize("origin", [UNIX, LOOPBACK])
def test_the_same_user_of_the_device_comes_in(origin):
    """Users up to the scope that the operator gave, agents as peers; the default scope is code."""
    assert judged(Hello(role="user"), origin) == Grant("code", user="local")
    assert judged(Hello(role="user"), origin, local_access="read") == Grant("read", user="local")
    assert judged(PEER, origin) == Grant("peer")


@pytest.mark.parametrize("origin", [OTHER_USER, UNTOLD, ELSEWHERE, FORGED, ROOT_ON_UNIX])
@pytest.mark.parametrize("hello", [Hello(role="user"), PEER])
def test_nobody_else_does(origin, hello):
    """Another user, one of whom the kernel tells nothing, another device: each is told what to do."""
    verdict = judged(hello, origin)
    assert isinstance(verdict, Denial)
    assert verdict.code == "forbidden"
    assert verdict.remedy


@pytest.mark.parametrize("origin", [OTHER_USER, ELSEWHERE, LOOPBACK])
def test_a_token_decides_where_there_is_one(origin):
    """Its scope counts, not who brings it; a wrong one is refused even to the agent's own user."""
    tokens = {"good": ("ann", "submit")}
    assert judged(Hello(role="user", token="good"), origin, identify=tokens.get) == Grant("submit", user="token:ann")
    assert isinstance(judged(Hello(role="user", token="bad"), origin, identify=tokens.get), Denial)


def test_insecure_lets_peers_in_and_users_not():
    """The operator's word is about the wire, not about who may submit."""
    insecure = Security(insecure=True)
    assert judged(PEER, ELSEWHERE, security=insecure) == Grant("peer")
    assert isinstance(judged(Hello(role="user"), ELSEWHERE, security=insecure), Denial)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a\x1b[2J", "é" * 300, "<b>", "a/b"])
def test_a_name_that_would_steer_a_terminal_is_refused(name):
    """Names are shown; nothing in them may act."""
    verdict = judged(Hello(role="peer", name=name, agent_id="id", boot="b"), UNIX)
    assert isinstance(verdict, Denial)
    assert verdict.code == "identity"
    assert name not in verdict.reason or not name or name.isprintable()


def test_versions_are_judged_first():
    """Who speaks no common version is told so, whoever it is."""
    verdict = judged(Hello(role="peer", protocol_min=7, protocol_max=9), ELSEWHERE)
    assert isinstance(verdict, Denial)
    assert verdict.code == "version"


# --- what leaves the device -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "stays"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("localhost.example.org", False),
        ("beta", False),
        ("fe80::1%eth0", False),
    ],
)
def test_only_loopback_stays_on_the_device(host, stays):
    """A name may point anywhere, and 0.0.0.0 is everywhere."""
    assert is_loopback(host) is stays
    where = host, "beta", f"{host}:1"
    if stays:
        assert Security().for_dialling(*where) is None
        Security().check_listening(host)
    else:
        with pytest.raises(ConfigError, match=r"agentd invite.*--insecure"):
            Security().for_dialling(*where)
        with pytest.raises(ConfigError, match="listening on"):
            Security().check_listening(host)
        assert Security(insecure=True).for_dialling(*where) is None


# --- which connection stays -------------------------------------------------------------------------------------


def connected(agent_id: str, boot: str, is_dialled: bool, life: Life = Life.ALIVE) -> Neighbour:
    neighbour = Neighbour("beta")
    session = SimpleNamespace(life=lambda _: life)
    them = Hello(role="peer", name="beta", agent_id=agent_id, boot=boot)
    neighbour.end = SimpleNamespace(is_dialled=is_dialled, them=them, link=SimpleNamespace(session=session))
    neighbour.agent_id = agent_id
    return neighbour


def keeps(
    own: str, other: str, *, old_dialled: bool, new_dialled: bool, boot: str = "b", life: Life = Life.ALIVE
) -> bool:
    them = Hello(role="peer", name="beta", agent_id=other, boot=boot)
    neighbour = connected(other, "b", old_dialled, life)
    return Roster(own, "me").keeps(neighbour, them, is_dialled=new_dialled, now=0.0)


@pytest.mark.parametrize("dialled", [True, False])
def test_the_newer_of_two_connections_the_same_way_stays(dialled):
    """Who connects anew has lost the other, even if we have not noticed."""
    assert not keeps("a", "b", old_dialled=dialled, new_dialled=dialled)


@pytest.mark.parametrize("old_is_a_to_b", [True, False])
def test_of_two_that_cross_both_ends_keep_the_same(old_is_a_to_b):
    """Whichever came about first at each end, the connection that the smaller id dialled is the one that stays."""
    a_keeps_old = keeps("a", "b", old_dialled=old_is_a_to_b, new_dialled=not old_is_a_to_b)
    b_keeps_old = keeps("b", "a", old_dialled=not old_is_a_to_b, new_dialled=old_is_a_to_b)
    assert a_keeps_old is b_keeps_old is old_is_a_to_b


def test_a_connection_that_is_dying_or_of_a_former_boot_never_stays():
    """A restart, or three beats of silence, and the newer one wins whatever the ids."""
    assert keeps("a", "b", old_dialled=True, new_dialled=False)
    assert not keeps("a", "b", old_dialled=True, new_dialled=False, boot="b2")
    assert not keeps("a", "b", old_dialled=True, new_dialled=False, life=Life.SUSPECT)


def test_a_neighbour_is_known_again():
    """By its id, whatever it is called now; by the address that we dial; else by its name."""
    roster = Roster("me", "me")
    known = roster.ensure("10.0.0.2")
    known.agent_id = "id-beta"
    dialled = roster.ensure("10.0.0.3")
    dialled.dialer = SimpleNamespace(address="10.0.0.3:46102")
    named = roster.ensure("delta")
    assert roster.who_is(Hello(name="beta", agent_id="id-beta")) is known
    assert roster.who_is(Hello(name="gamma", agent_id="x", address="10.0.0.3:46102")) is dialled
    assert roster.who_is(Hello(name="delta", agent_id="y")) is named
    assert roster.who_is(Hello(name="new", agent_id="z")).name == "new"
    assert roster.get("new") is None, "a stranger is not remembered before it is welcomed"
