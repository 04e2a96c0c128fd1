"""Two devices that are paired: TLS over a real network, and who is kept out of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from network.net_rig import connect
from network.site_rig import COMM_PORT, Site

from agentd.wire import messages as m
from agentd.wire.codec import encode
from agentd.wire.session import Session
from agentd.wire.terms import Side, Terms
from tests.conftest import agent_environment

LONG_S = 60.0


def two(make_site: Callable[..., Site], *options: str) -> Site:
    """Two agents on devices of their own that reach each other over TLS alone, not paired yet."""
    site = make_site("a", "b")
    site.start("a", 1)
    site.start("b", 1, *options)
    return site


def command(site: Site, name: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Type a command on a device."""
    return subprocess.run(
        [*site.net.inside(name), sys.executable, "-m", "agentd", *words],
        env=agent_environment(AGENTD_STATE=str(site.agents[name].state), **more),
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )


def ran_on(site: Site, asked: str, folder: Path) -> set[str]:
    """Ask one agent for more tasks at once than it has cores, and tell where they ran."""
    return {one["ran_on"] for one in site.doors[asked].at_once(folder, 2)}


def test_two_commands_pair_two_devices(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """What `invite` prints on the one is all that `join` needs on the other; work then goes both ways, over TLS."""
    site = two(make_site)
    invited = command(site, "b", "invite")
    assert invited.returncode == 0, invited.stderr
    assert site.net.address("b") in invited.stderr
    joined = command(site, "a", "join", invited.stdout.strip())
    assert joined.returncode == 0, joined.stderr
    assert "paired with b" in joined.stdout
    assert command(site, "b", "resources", "add", "a").returncode == 0
    site.connect(("a", "b"))
    assert ran_on(site, "a", tmp_path) == ran_on(site, "b", tmp_path) == {"a", "b"}
    (row,) = site.doors["b"].get("/v1/peers")["peers"]
    assert (row["name"], row["state"]) == ("a", "connected")


def test_a_paired_link_comes_back_after_a_cut_and_a_restart(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """Trust is on the disk of both: nobody has to do anything."""
    site = two(make_site)
    site.pair("b", "a")
    site.net.cut("a", "b")
    site.until("a", "b", "lost")
    site.net.heal("a", "b")
    site.connect(("a", "b"))
    assert site.agents["b"].stop() == 0
    site.start("b", 1)
    site.connect(("a", "b"))
    assert ran_on(site, "a", tmp_path) == {"a", "b"}


def test_a_neighbour_that_is_not_paired_is_told_what_to_run(make_site: Callable[..., Site]) -> None:
    """Adding it is refused before a byte is sent, with the two commands and the device that each belongs on."""
    site = two(make_site)
    where = site.net.address("b")
    refused = command(site, "a", "resources", "add", "b", f"Host={where}", f"Port={COMM_PORT}")
    assert refused.returncode == 3
    assert f"`agentd invite` on {where}" in refused.stderr
    assert "`agentd join` with the string that it prints on this device" in refused.stderr
    assert site.doors["a"].get("/v1/neighbours")["neighbours"] == []


def test_a_neighbour_named_at_the_start_waits_for_the_pairing(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """`--neighbour` of a stranger says what to run; as soon as the two are paired, the link is there."""
    site = make_site("a", "b")
    site.start("b", 1)
    site.start("a", 1, f"--neighbour=b={site.net.address('b')}:{COMM_PORT}")
    while "agentd invite" not in (why := site.link("a", "b").get("why_not", "")):
        assert site.link("a", "b").get("state") != "connected", why
    site.pair("b", "a")
    site.connect(("a", "b"))
    assert ran_on(site, "a", tmp_path) == {"a", "b"}


def test_plain_words_from_another_device_are_refused(make_site: Callable[..., Site]) -> None:
    """Beyond loopback only TLS is spoken: who is plain is told so and gone, and the paired link goes on."""
    site = two(make_site)
    site.pair("b", "a")
    session = Session(Side.DIALLER, Terms(), 0.0)
    hello = m.Hello(role="peer", agent_id="id-c", name="c", boot="c")
    session.send(hello, 0.0)
    with connect(site.net, "a", (site.net.address("b"), COMM_PORT), LONG_S) as plain:
        (pieces,) = encode(hello, version=1, max_bytes=2**16, local=False)
        plain.sendall(b"".join(pieces))
        said = b"".join(iter(lambda: plain.recv(65_536), b""))
    (ack,) = session.receive(said, 0.0)
    assert isinstance(ack, m.HelloAck)
    assert (ack.ok, ack.code) == (False, "forbidden")
    assert "over TLS only" in ack.reason
    assert "agentd invite" in ack.remedy
    assert site.link("b", "a")["state"] == "connected"


@pytest.mark.parametrize("option", ["rest", "comm"])
def test_a_port_for_other_devices_is_opened_over_tls_or_not_at_all(
    make_net: Callable[..., Any], tmp_path: Path, option: str
) -> None:
    """The user port of a device's own address needs --rest-tls; without, nothing is opened, and the exit code is 2."""
    net = make_net("a")
    words = ["--rest-host", net.address("a"), "--rest-port", "auto", "--comm-port", "0"]
    if option == "comm":  # somebody has taken the key away that TLS needs
        (tmp_path / "state").mkdir(mode=0o700)
        (tmp_path / "state" / "identity.pem").write_text("no key")
        words = ["--comm-host", net.address("a"), "--comm-port", "auto", "--rest-port", "0"]
    refused = subprocess.run(
        [*net.inside("a"), sys.executable, "-m", "agentd", "start", "--state", str(tmp_path / "state"), *words],
        env=agent_environment(),
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert ("--rest-tls" if option == "rest" else "identity.pem") in refused.stderr
    assert "is ready" not in refused.stdout


def test_a_person_on_another_device_logs_in(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """Certificate and token come with one string; commands then believe that certificate alone."""
    site = make_site("a", "b")
    site.start("a", 1)
    site.start("b", 1, "--rest-tls", "--rest-host", "0.0.0.0")
    invited = command(site, "b", "invite", "--user", "ann", "--scope", "submit")
    assert invited.returncode == 0, invited.stderr
    config = str(tmp_path / "config")
    entered = command(site, "a", "login", invited.stdout.strip(), AGENTD_CONFIG=config)
    assert entered.returncode == 0, entered.stderr
    url = entered.stdout.split("--agent ")[1].split(",")[0]
    called = command(site, "a", "call", "--agent", url, "sums:increment", "4", AGENTD_CONFIG=config)
    assert (called.returncode, called.stdout) == (0, "5\n"), called.stderr
    stranger = command(site, "a", "call", "--agent", url, "sums:increment", "4", AGENTD_CONFIG=str(tmp_path / "none"))
    assert stranger.returncode == 4
    assert "agentd login" in stranger.stderr
