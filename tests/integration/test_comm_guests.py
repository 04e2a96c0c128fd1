"""The Comm door and who comes to it: users with their rights, strangers, the slow, the silent and the hostile."""

from __future__ import annotations

import asyncio
import os
import socket
import stat

import pytest

from agentd.comm.settings import CommSettings
from agentd.core import commands as c
from agentd.core import events as e
from agentd.model.errors import ConfigError, StateInUse
from agentd.model.exchange import Settled, Submission
from agentd.model.task import Form, Outcome, Reason, Status, Template
from agentd.model.values import Codec, Part, Payload
from agentd.wire import messages as m
from agentd.wire.codec import encode
from agentd.wire.framing import HEADER, MAGIC, encode_frame
from tests.fakes.descriptors import open_files
from tests.integration.comm_rig import Agent, Client, passing_time, run

JSON = Payload(Codec.JSON, b'{"args":[1]}')
PICKLE = Payload(Codec.PICKLE, b"\x80\x05N.")


def frame(message: m.Message, version: int = 1) -> bytes:
    (pieces,) = encode(message, version=version, max_bytes=2**24, local=True)
    return b"".join(pieces)


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


# --- users ------------------------------------------------------------------------------------------------------


def test_a_user_submits_and_is_told_how_it_ended():
    """Declare, submit, cancel, settle, and the caller is gone when the connection is."""

    async def main() -> None:
        async with Agent("beta") as beta:
            user = await Client.tcp((await beta.listen()).address)
            ack = await user.hello()
            assert (ack.ok, ack.scope, ack.name, ack.credits) == (True, "code", "beta", 65_536)
            user.say(m.Declare(((1, Template("a:b")),)))
            user.say(m.Submit([Submission(7, 1, PICKLE), Submission(8, 1, JSON)]))
            user.say(m.CancelCalls((8,)))
            (submitted,) = await beta.until(e.CallsSubmitted)
            assert submitted.calls == [Submission(7, 1, PICKLE), Submission(8, 1, JSON)]
            (declared,) = beta.of(e.TemplatesDeclared)
            assert declared.caller == submitted.caller
            assert await beta.until(e.CallsCancelled) == [e.CallsCancelled(submitted.caller, (8,))]
            beta.do(c.SettleCalls(submitted.caller, [Settled(7, Outcome(value=PICKLE)), Settled(8, Outcome(2))]))
            told = await user.hear(m.SettledCalls)
            assert told.settled == [Settled(7, Outcome(value=PICKLE)), Settled(8, Outcome(2))]
            await user.close()
            assert await beta.until(e.CallerLeft) == [e.CallerLeft(submitted.caller)]
            beta.do(c.SettleCalls(submitted.caller, [Settled(9, Outcome())]))  # too late: nobody is told

    run(main)


@pytest.mark.parametrize(
    ("template", "payload", "words"),
    [
        (Template("a:b", codec=Codec.JSON), JSON, None),
        (Template("a:b", codec=Codec.PICKLE), JSON, "scope code"),
        (Template("a:b", codec=Codec.JSON), PICKLE, "pickled arguments need scope code"),
        (Template("a:b", codec=Codec.JSON), Payload(Codec.JSON, b"", (Part(1, b"x"),)), "pickled arguments"),
        (Template("f", codec=Codec.JSON, form=Form.VALUE, code=b"\x80"), JSON, "scope code"),
        (Template("f", codec=Codec.JSON, code=b"\x80"), JSON, "scope code"),
        (Template("os:system", codec=Codec.JSON), JSON, "not allowed here"),
    ],
)
def test_a_user_of_scope_submit_brings_no_code(template, payload, words):
    """Functions by name and JSON pass; pickles, code and forbidden functions settle as not callable, each with why."""

    async def main() -> None:
        def admit(template: Template) -> str | None:
            return "not allowed here" if template.function == "os:system" else None

        async with Agent("beta", tokens={"secret": ("ann", "submit")}, admit=admit) as beta:
            user = await Client.tcp((await beta.listen()).address)
            assert (await user.hello(token="secret")).scope == "submit"
            user.say(m.Declare(((1, template), (2, Template("good:one", codec=Codec.JSON)))))
            user.say(m.Submit([Submission(1, 1, payload), Submission(2, 2, JSON)]))
            (submitted,) = await beta.until(e.CallsSubmitted)
            assert [call.ref for call in submitted.calls] == ([2] if words else [1, 2])
            if words:
                (settled,) = (await user.hear(m.SettledCalls)).settled
                assert (settled.ref, settled.outcome.status) == (1, Status.FAILED)
                assert settled.outcome.failure.reason == Reason.NOT_CALLABLE
                assert words in settled.outcome.failure.message
            await user.close()

    run(main)


def test_a_user_who_may_only_read_submits_nothing():
    """Scope read is for looking."""

    async def main() -> None:
        async with Agent("beta", local_access="read") as beta:
            user = await Client.tcp((await beta.listen()).address)
            await user.hello()
            user.say(m.Declare(((1, Template("a:b", codec=Codec.JSON)),)))
            user.say(m.Submit([Submission(1, 1, JSON)]))
            (settled,) = (await user.hear(m.SettledCalls)).settled
            assert "scope read may not submit" in settled.outcome.failure.message
            assert not beta.of(e.CallsSubmitted)
            await user.close()

    run(main)


@pytest.mark.parametrize(
    ("token", "uid", "local_access", "words"),
    [
        ("", 12_345, "code", "not the agent's own user"),
        ("wrong", None, "code", "token is not known"),
        ("peers", None, "code", "scope peer gives a user no access"),
        ("", None, "none", "scope none gives a user no access"),
    ],
)
def test_who_may_not_come_in_is_told_why(token, uid, local_access, words):
    """Another user of the device, a wrong token, a token of no use here, and a door that is shut to local users."""

    async def main() -> None:
        tokens = {"peers": ("x", "peer")}
        async with Agent("beta", owner_uid=uid, tokens=tokens, local_access=local_access) as beta:
            user = await Client.tcp((await beta.listen()).address)
            ack = await user.hello(token=token)
            assert (ack.ok, ack.code) == (False, "forbidden")
            assert words in ack.reason
            assert ack.remedy
            assert await user.end() == b""
            assert beta.events == []
            await user.close()

    run(main)


def test_a_peer_of_another_user_is_refused():
    """Loopback is no trust boundary, for agents either."""

    async def main() -> None:
        async with Agent("beta", owner_uid=12_345) as beta:
            peer = await Client.tcp((await beta.listen()).address)
            ack = await peer.hello("peer", name="alpha", agent_id="id-alpha", boot="b")
            assert (ack.ok, ack.code) == (False, "forbidden")
            assert "another user" in ack.reason
            await peer.close()

    run(main)


def test_a_session_declares_within_limits():
    """Too many templates, or too much code, is refused per template; the connection and the others go on."""

    async def main() -> None:
        async with Agent("beta", CommSettings(templates=2, templates_bytes=100)) as beta:
            user = await Client.tcp((await beta.listen()).address)
            await user.hello()
            codes = {1: b"x" * 90, 2: b"x" * 20, 3: b"", 4: b""}
            user.say(m.Declare(tuple((number, Template("f", code=code)) for number, code in codes.items())))
            user.say(m.Submit([Submission(number, number, JSON) for number in codes]))
            (submitted,) = await beta.until(e.CallsSubmitted)
            assert [call.ref for call in submitted.calls] == [1, 3]
            settled = (await user.hear(m.SettledCalls)).settled
            assert [one.ref for one in settled] == [2, 4]
            assert "bytes of code already" in settled[0].outcome.failure.message
            assert "templates already" in settled[1].outcome.failure.message
            await user.close()

    run(main)


def test_a_result_above_the_cap_settles_as_a_failure():
    """The user is told what to do instead of losing its connection."""

    async def main() -> None:
        async with Agent("beta", CommSettings(frame_bytes=10_000)) as beta:
            user = await Client.tcp((await beta.listen()).address)
            await user.hello()
            user.say(m.Submit([Submission(1, 1, JSON), Submission(2, 1, JSON)]))
            (submitted,) = await beta.until(e.CallsSubmitted)
            results = [Settled(1, Outcome(value=Payload(3, b"x" * 20_000))), Settled(2, Outcome(value=JSON))]
            beta.do(c.SettleCalls(submitted.caller, results))
            first, second = (await user.hear(m.SettledCalls)).settled
            assert first.outcome.failure.reason == Reason.NOT_ENCODABLE
            assert "put large values into the store" in first.outcome.failure.message
            assert second == results[1]
            await user.close()

    run(main)


# --- the hostile ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not a Comm frame"),
        (HEADER.pack(MAGIC, 1, 1, 2**32 - 1, 0), "exceeds the cap of 65536"),
        (HEADER.pack(MAGIC, 9, 1, 0, 0), "a frame of version 9"),
        (frame(m.Submit([])), "SUBMIT while the connection opens: expected HELLO"),
        (b"".join(encode_frame(1, b"\xc1")), "cannot be read"),
        (frame(m.Hello(role="root")), "role 'root'"),
        (frame(m.Hello(3, 4, "user")), "you speak versions 3 to 4 of the protocol, this agent 1 to 2"),
    ],
)
def test_a_stranger_gets_a_reason_and_is_dropped(said, words):
    """Whatever a stranger says that is no HELLO for us: one refusal, the end, and no trace in the engine."""

    async def main() -> None:
        async with Agent("beta") as beta:
            stranger = await Client.tcp((await beta.listen()).address)
            stranger.session.send(m.Hello(role="user"), 0.0)  # only so that it listens to the answer
            stranger.writer.write(said)
            ack = await stranger.ack()
            assert not ack.ok
            assert words in ack.reason
            assert await stranger.end() == b""
            assert beta.events == []
            await stranger.close()

    run(main)


@pytest.mark.parametrize(
    ("role", "said", "words"),
    [
        ("user", frame(m.Offers([])), "OFFER is not for a user"),
        ("peer", frame(m.Submit([])), "SUBMIT is not for a peer"),
        ("user", frame(m.SettledCalls([])), "SETTLED is not for a user"),
        ("user", HEADER.pack(MAGIC, 1, 17, 2**24, 1), "exceeds the cap"),
        ("user", b"".join(encode_frame(99, b"")), "unknown kind of frame 99"),
        ("user", frame(m.Submit([Submission(1, 1, JSON, parent=5)])), "names a parent task"),
        ("user", frame(m.Submit([Submission(1, 1, Payload(1, b"", (Part(9, None, 4),)))])), "between devices"),
        ("user", frame(m.Segment(1, 4096)), "SEGMENT is not for a user"),
        ("peer", b"\0" * 12, "not a Comm frame"),
    ],
)
def test_who_breaks_the_protocol_is_told_and_dropped(role, said, words):
    """After the welcome too: GOODBYE with the reason, the end, and the engine hears of it once."""

    async def main() -> None:
        async with Agent("beta") as beta:
            client = await Client.tcp((await beta.listen()).address)
            assert (await client.hello(role, name="alpha", agent_id="id-alpha", boot="b")).ok
            client.writer.write(said)
            goodbye = await client.hear(m.Goodbye)
            assert goodbye.code == "protocol"
            assert words in goodbye.reason
            assert await client.end() == b""
            kind = e.CallerLeft if role == "user" else e.LinkClosed
            assert len(await beta.until(kind)) == 1
            await client.close()

    run(main)


def test_an_offer_twice_before_its_answer_breaks_the_protocol():
    """Each offer is answered once, so it can be asked once."""

    async def main() -> None:
        async with Agent("beta") as beta:
            peer = await Client.tcp((await beta.listen()).address)
            await peer.hello("peer", name="alpha", agent_id="id-alpha", boot="b")
            from agentd.model.exchange import Offer

            peer.say(m.Offers([Offer(5, 1, JSON), Offer(5, 1, JSON)]))
            assert "offered again" in (await peer.hear(m.Goodbye)).reason
            await peer.close()

    run(main)


def test_a_silent_client_is_dropped():
    """Two seconds to say HELLO (here less), and no more; a slow trickle of bytes does not prolong it."""

    async def main() -> None:
        async with Agent("beta", CommSettings(hello_s=0.05)) as beta:
            await beta.listen()
            silent, trickling = await Client.tcp(beta.address), await Client.tcp(beta.address)
            trickling.writer.write(MAGIC)
            for client in (silent, trickling):
                client.session.send(m.Hello(role="user"), 0.0)
                assert "no HELLO within 0.05 s" in (await client.ack()).reason
                assert await client.end() == b""
                await client.close()
            assert beta.events == []

    run(main)


def test_strangers_are_limited_and_guests_are_not_harmed():
    """Above the cap newcomers are refused with a reason; who is in stays in, and a place that is left is free."""

    async def main() -> None:
        async with Agent("beta", CommSettings(unauthenticated=3, linger_s=0.05)) as beta:
            await beta.listen()
            guest = await Client.tcp(beta.address)
            assert (await guest.hello()).ok
            strangers = [await Client.tcp(beta.address) for _ in range(3)]
            await beta.until_strangers(3)
            late = await Client.tcp(beta.address)
            late.session.send(m.Hello(role="user"), 0.0)
            ack = await late.ack()
            assert (ack.ok, ack.code) == (False, "full")
            assert (await strangers[0].hello()).ok
            assert (await (await Client.tcp(beta.address)).hello()).ok
            guest.say(m.CancelCalls((1,)))
            await beta.until(e.CallsCancelled)

    run(main)


def test_connections_are_limited_in_all():
    """Also those that were welcomed."""

    async def main() -> None:
        async with Agent("beta", CommSettings(connections=2, linger_s=0.05)) as beta:
            await beta.listen()
            guests = [await Client.tcp(beta.address) for _ in range(2)]
            for guest in guests:
                assert (await guest.hello()).ok
            late = await Client.tcp(beta.address)
            late.session.send(m.Hello(role="user"), 0.0)
            assert (await late.ack()).code == "full"
            await guests[0].close()
            await beta.until(e.CallerLeft)
            assert (await (await Client.tcp(beta.address)).hello()).ok

    run(main)


def test_a_slow_reader_hurts_only_itself():
    """Above the limit and without progress it is dropped; another link is served all the while."""

    async def main() -> None:
        settings = CommSettings(
            heartbeat_s=0.05, lost_beats=1_000, write_buffer_bytes=1_000_000, stalled_s=0.2, linger_s=0.1
        )
        async with Agent("beta", settings) as beta:
            await beta.listen()
            slow, quick = await Client.tcp(beta.address), await Client.tcp(beta.address)
            slow.writer.transport.pause_reading()
            slow.session.send(m.Hello(role="user"), 0.0)
            slow.writer.write(frame(m.Hello(role="user")))
            slow.writer.write(frame(m.Submit([Submission(ref, 1, JSON) for ref in range(40)])))
            (asked,) = await beta.until(e.CallsSubmitted)
            await quick.hello()
            quick.say(m.Submit([Submission(1, 1, JSON)]))
            answered = (await beta.until(e.CallsSubmitted, 2))[1]
            megabyte = Outcome(value=Payload(Codec.BYTES, b"x" * 1_000_000))
            beta.do(c.SettleCalls(asked.caller, [Settled(ref, megabyte) for ref in range(40)]))
            beta.do(c.SettleCalls(answered.caller, [Settled(1, megabyte)]))
            assert (await quick.hear(m.SettledCalls)).settled[0].outcome == megabyte
            assert await beta.until(e.CallerLeft) == [e.CallerLeft(asked.caller)]
            quick.say(m.CancelCalls((1,)))
            await beta.until(e.CallsCancelled)
            slow.writer.transport.abort()

    run(main)


def test_a_peer_that_falls_silent_is_lost():
    """Half-open: it never closes, it just says nothing; found after five beats, while a beating one stays."""

    async def main() -> None:
        async with Agent("beta", CommSettings(heartbeat_s=0.05)) as beta, Agent("gamma") as gamma:
            await beta.listen()
            gamma.dial(beta, "beta")
            await gamma.until(e.LinkOpened)
            silent = await Client.tcp(beta.address)
            await silent.hello("peer", name="alpha", agent_id="id-alpha", boot="b")
            (closed,) = await beta.until(e.LinkClosed)
            assert closed.neighbour == "alpha"
            assert "silent for" in closed.reason
            assert beta.door.link_to("gamma") is not None
            await silent.close()

    run(main)


def test_who_stood_still_does_not_take_others_for_silent():
    """All stand still for much longer than silence may last, as where a machine sleeps: the link is there as before."""

    async def main() -> None:
        loop, sleep = asyncio.get_running_loop(), passing_time()
        async with Agent("beta", CommSettings(heartbeat_s=0.05)) as beta, Agent("gamma") as gamma:
            await beta.listen()
            gamma.dial(beta, "beta")
            await beta.until(e.LinkOpened)
            for _ in range(3):
                sleep(10.0)
                ours = [end.link.session for end in beta.door._reception.peers.values()]
                woke_s = loop.time()
                while not all(session.heard_s > woke_s for session in ours):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0)
            assert beta.of(e.LinkClosed) == gamma.of(e.LinkClosed) == []

    run(main)


def test_who_leaves_says_goodbye_and_gets_what_was_said():
    """A door that closes delivers what it had to say before, then its goodbye."""

    async def main() -> None:
        async with Agent("beta") as beta:
            user = await Client.tcp((await beta.listen()).address)
            await user.hello()
            user.say(m.Submit([Submission(ref, 1, JSON) for ref in range(8)]))
            (submitted,) = await beta.until(e.CallsSubmitted)
            megabyte = Outcome(value=Payload(Codec.BYTES, b"x" * 1_000_000))
            hearing = asyncio.create_task(hear_to_the_end(user))
            beta.door.settle_calls(c.SettleCalls(submitted.caller, [Settled(ref, megabyte) for ref in range(8)]))
        refs, goodbye = await hearing
        assert refs == list(range(8))
        assert goodbye.code == "stopping"

    run(main)


async def hear_to_the_end(user: Client) -> tuple[list[int], m.Goodbye]:
    refs: list[int] = []
    while len(refs) < 8:
        refs += [one.ref for one in (await user.hear(m.SettledCalls)).settled]
    goodbye = await user.hear(m.Goodbye)
    await user.close()
    return refs, goodbye


# --- the Unix socket --------------------------------------------------------------------------------------------


def test_the_unix_socket_is_for_this_user_alone(folder):
    """The file is 0600 in a folder of 0700, and gone when the agent is."""

    async def main() -> None:
        path = folder / "agent.sock"
        async with Agent("beta") as beta:
            beta.door.open_unix(path)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            user = await Client.unix(path)
            assert (await user.hello()).scope == "code"
            await user.close()
        assert not path.exists()

    run(main)


def test_shared_memory_is_named_on_the_unix_socket(folder):
    """A descriptor arrives with its SEGMENT, for who takes it; nobody takes it: it is closed."""

    async def main() -> None:
        path = folder / "agent.sock"
        taken: list[tuple[int, bytes]] = []

        async with Agent("beta") as beta:
            beta.door.open_unix(path)

            def take(link: object, message: m.Segment) -> None:
                if message.number == 1:
                    fd = link.take_descriptor()
                    taken.append((message.number, os.pread(fd, 5, 0)))
                    os.close(fd)

            beta.door.route(m.Segment, take)
            user = socket.socket(socket.AF_UNIX)
            user.connect(str(path))
            fd = os.memfd_create("segment")
            os.write(fd, b"bytes")
            before = open_files()
            user.sendall(frame(m.Hello(role="user")))
            await asyncio.get_running_loop().run_in_executor(None, user.recv, 4096)
            socket.send_fds(user, [frame(m.Segment(1, 5))], [fd])
            socket.send_fds(user, [frame(m.Segment(2, 5))], [fd])
            user.sendall(frame(m.Submit([Submission(1, 1, Payload(1, b"", (Part(5, None, 1),)))])))
            (submitted,) = await beta.until(e.CallsSubmitted)
            assert submitted.calls[0].payload.parts == (Part(5, None, 1),)
            assert taken == [(1, b"bytes")]
            assert len(open_files() - before) == 1, "the accepted socket, and no descriptor left open"
            beta.door.send(beta.door.link(submitted.caller), m.Segment(9, 5), (fd,))
            beta.door.flush()
            _, fds, _, _ = socket.recv_fds(user, 4096, 4)
            assert os.pread(fds[0], 5, 0) == b"bytes"
            for each in (fd, *fds):
                os.close(each)
            user.close()

    run(main)


@pytest.mark.parametrize("how", ["none", "too many"])
def test_segments_and_descriptors_must_match(folder, how):
    """A SEGMENT without a descriptor, or descriptors without SEGMENTs, end the connection and leak nothing."""

    async def main() -> None:
        path = folder / "agent.sock"
        async with Agent("beta") as beta:
            beta.door.open_unix(path)
            user = socket.socket(socket.AF_UNIX)
            user.connect(str(path))
            user.sendall(frame(m.Hello(role="user")))
            if how == "none":
                user.sendall(frame(m.Segment(1, 5)))
            else:
                socket.send_fds(user, [frame(m.CancelCalls(()))], [0] * 65)
            await beta.until(e.CallerLeft)
            said = user.recv(65_536)
            assert (b"without its descriptor" if how == "none" else b"65 descriptors without") in said
            user.close()

    run(main)


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(folder):
    """Nobody answers: replaced. Somebody does: in use. No socket: left alone."""

    async def main() -> None:
        path = folder / "agent.sock"
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(path))
        left.close()
        async with Agent("beta") as beta, Agent("gamma") as gamma:
            beta.door.open_unix(path)
            assert (await (await Client.unix(path)).hello()).ok
            with pytest.raises(StateInUse, match="another agent answers"):
                gamma.door.open_unix(path)
            assert (await (await Client.unix(path)).hello()).ok
            file = folder / "file"
            file.write_text("precious")
            with pytest.raises(ConfigError, match="not a socket"):
                gamma.door.open_unix(file)
            assert file.read_text() == "precious"

    run(main)


def test_an_unsafe_folder_is_refused(folder):
    """Open to others, a link, or not there."""

    async def main() -> None:
        async with Agent("beta") as beta:
            (folder / "open").mkdir(mode=0o755)
            (folder / "open").chmod(0o755)
            (folder / "own").mkdir(mode=0o700)
            (folder / "link").symlink_to(folder / "own")
            for name, words in (("open", "yours alone"), ("link", "no link"), ("none", "cannot be used")):
                with pytest.raises(ConfigError, match=words):
                    beta.door.open_unix(folder / name / "agent.sock")

    run(main)


def test_an_idle_door_has_no_timers(folder):
    """With users on the Unix socket only, nothing wakes the agent; with a neighbour, once per beat."""

    async def main() -> None:
        path = folder / "agent.sock"
        async with Agent("beta") as beta:
            await beta.listen()
            beta.door.open_unix(path)
            user = await Client.unix(path)
            await user.hello()
            beta.door._tick()
            assert beta.door._ticker is None
            peer = await Client.tcp(beta.address)
            loop = asyncio.get_running_loop()
            held_s = loop.time()
            loop.time = lambda: held_s
            await peer.hello("peer", name="alpha", agent_id="id-alpha", boot="b")
            assert beta.door._ticks_at - held_s > 0.9
            del loop.time
            await user.close()
            await peer.close()

    run(main)
