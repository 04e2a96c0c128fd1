"""The client, sync and async, against a REST door: one method for each route, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading

import pytest

from agentd.api import Agent, AsyncAgent, RequestError, TaskFailed, Unreachable, connect, connect_async
from agentd.api.routes.submissions import submission
from agentd.model.views import AgentView, OperationView
from tests.fakes.doors import open_door
from tests.integration.daemon_rig import free_port


@pytest.fixture(scope="module")
def shared_door():
    with open_door() as door:
        yield door


@pytest.fixture
def agent(shared_door):
    with connect(shared_door.url, token="admin-token") as agent:
        yield agent


# --- operations ---------------------------------------------------------------------------------------------------


def test_call_gives_the_value(agent):
    """JSON, bytes, and what only a pickle can say."""
    assert agent.call("sample:add", 1, b=2) == 3
    assert agent.call("sample:raw", 6) == b"\x00\xff" * 3
    assert agent.call("sample:odd") == {1, 2, 3, 1 + 2j}
    assert agent.call("sample:nothing") is None
    assert agent.call("sample:echo", [1, {"x": None}], k=1.5) == {"args": [[1, {"x": None}]], "kwargs": {"k": 1.5}}
    assert agent.call(lambda pair: type(pair).__name__, (1, 2)) == "tuple"


def test_functions_of_the_program_go_by_value(agent):
    """A lambda runs there too."""
    assert agent.call(lambda x: x * 2, 21) == 42


def test_a_failure_is_raised_with_the_remote_traceback(agent):
    """The call's exception tells what happened there."""
    with pytest.raises(TaskFailed, match="on purpose") as caught:
        agent.call("sample:fail")
    assert caught.value.kind == "ValueError"
    assert "in fail" in caught.value.traceback


def test_an_operation_can_be_followed_from_submission_to_result(agent):
    """Submit, look, list, tasks, logs, result."""
    made = agent.submit("sample:speak", ["heard"], name="talk")
    assert isinstance(made, OperationView)
    ended = agent.wait(made, timeout=60)
    assert (ended.id, ended.state, ended.name) == (made.id, "done", "talk")
    assert agent.get(made.id).state == "done"
    assert agent.result(made) is None
    assert [(piece.stream, piece.text) for piece in agent.logs(made, follow=True)] == [
        ("stdout", "heard\n"),
        ("stderr", "trouble\n"),
    ]
    assert agent.tasks(made)[0].function == "sample:speak"
    assert made.id in {view.id for view in agent.operations("done")}


def test_submit_can_wait_for_the_end(agent):
    """One request does both."""
    assert agent.submit("sample:add", [1], {"b": 1}, wait_s=30).result == 2


def test_pages_lead_to_each_other(agent):
    """The cursor of one page is the beginning of the next."""
    made = [agent.submit("sample:add", [n]).id for n in range(5)]
    first = agent.page(limit=2)
    second = agent.page(limit=3, cursor=first.next_cursor)
    assert [view.id for view in first.operations + second.operations] == made[::-1]


def test_waiting_ends_with_the_patience_and_cancelling_ends_the_wait(agent):
    """The operation goes on meanwhile."""
    made = agent.submit("sample:hold")
    with pytest.raises(TimeoutError, match=made.id):
        agent.wait(made, timeout=0.05)
    assert agent.cancel(made).state == "cancelled"
    with pytest.raises(TaskFailed) as caught:
        agent.result(made)
    assert caught.value.kind == "cancelled"


def test_a_key_makes_a_repetition_harmless(agent):
    """The same operation comes back; another body under the same key is refused."""
    first = agent.submit("sample:add", [1], key="only-once")
    assert agent.submit("sample:add", [1], key="only-once").id == first.id
    with pytest.raises(RequestError, match="another body"):
        agent.submit("sample:add", [2], key="only-once")


def test_batches_are_cut_to_what_the_agent_takes(agent):
    """More than a thousand operations, each with an answer of its own, in order."""
    bodies = [submission("sample:add", [n]) for n in range(1005)]
    bodies[3] = submission("nowhere:f")
    answers = agent.batch(bodies)
    assert len(answers) == 1005
    assert isinstance(answers[3], RequestError)
    assert agent.result(answers[1004]) == 1004


def test_large_values_are_streamed_and_named(agent):
    """A blob is stored from bytes or an iterable, and stands for its content in arguments."""
    assert agent.put_blob(b"x" * 100_000).bytes == 100_000
    blob = agent.put_blob(iter([b"ab", b"c"]))
    assert agent.call("sample:echo", blob.argument)["args"] == ["YWJj"]


def test_programs_run_as_main(agent):
    """Their source travels."""
    made = agent.submit_script("print('from a script')", "hello.py")
    assert "from a script\n" in [piece.text for piece in agent.logs(made, follow=True)]


# --- the agent ----------------------------------------------------------------------------------------------------


def test_the_agent_and_its_pool(agent):
    """Each route has its method, and each gives the view that the agent sent."""
    assert isinstance(agent.agent(), AgentView)
    assert agent.add("beta", 4, properties={"Port": "1"}).total == {"CPU": 4}
    assert agent.reduce("beta", {"processors": [{"units": 1}]}).total == {"CPU": 3}
    assert [row.name for row in agent.resources()] == ["here", "beta"]
    assert [row.name for row in agent.neighbours()] == ["beta"]
    assert agent.remove("beta", lost=True).state == "lost"
    assert agent.health().status == "alive"
    assert agent.ready()
    assert "#" in agent.metrics() or agent.metrics()


def test_events_begin_with_a_snapshot_and_go_on(agent, shared_door):
    """Reading them is a loop that the caller ends."""
    events = agent.events()
    first = next(events)
    shared_door.do(lambda: shared_door.agent.publish("news", {"n": 1}))
    assert first.topic
    assert any(event.topic == "news" and event.data == {"n": 1} for event in events)
    events.close()


def test_stopping_an_agent():
    """`shutdown` returns when it has begun; afterwards it is not ready."""
    with open_door() as door, connect(door.url, token="admin-token") as agent:
        agent.shutdown(drain_s=2.0)
        assert door.agent.stopped == [2.0]
        door.agent.draining = True
        assert not agent.ready()


def test_it_shows_itself(agent, shared_door):
    """In a shell and in a notebook."""
    assert repr(agent) == f"<Agent {shared_door.url}>"
    assert "<table>" in agent._repr_html_()


# --- refusals and silence -----------------------------------------------------------------------------------------


def test_a_refusal_carries_what_to_do():
    """Unknown function, full queue, too little scope: each with its status."""
    with open_door(same_user=False, queue_cap=0) as door:
        with connect(door.url, token="submit-token") as agent:
            with pytest.raises(RequestError) as caught:
                agent.submit("sample:add")
            assert (caught.value.status, caught.value.retry_after_s) == (429, 2)
            with pytest.raises(RequestError, match="code") as caught:
                agent.submit(lambda: 1)
            assert caught.value.status == 403
        with connect(door.url, token="wrong") as agent, pytest.raises(RequestError) as caught:
            agent.agent()
        assert caught.value.status == 401


def test_nobody_there_is_unreachable_with_the_address():
    """Every method says where nobody answered, also a stream."""
    url = f"http://127.0.0.1:{free_port()}"
    with connect(url) as agent:
        with pytest.raises(Unreachable, match=url):
            agent.agent()
        with pytest.raises(Unreachable, match=url):
            list(agent.logs("1"))


def test_an_agent_that_hangs_up_is_unreachable():
    """A connection that breaks in the middle of an answer is no value."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with connect(f"127.0.0.1:{listener.getsockname()[1]}") as agent, pytest.raises(Unreachable):
        agent.agent()
    thread.join()
    listener.close()


def test_an_agent_without_a_rest_interface_is_unreachable_that_way(tmp_path):
    """The message says which option opens it."""
    (tmp_path / "agent.json").write_text('{"name": "quiet", "rest": null}')
    with pytest.raises(Unreachable, match="--rest-port"):
        connect(tmp_path)


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(monkeypatch, shared_door):
    """An agent of this device is always reached directly."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with connect(shared_door.url) as agent:
        assert agent.health().status == "alive"


# --- asyncio ------------------------------------------------------------------------------------------------------


def test_the_async_client_has_the_same_methods():
    """With the same parameters."""

    def methods(kind):
        return {
            name: str(inspect.signature(getattr(kind, name)).parameters.keys())
            for name in dir(kind)
            if not name.startswith("_") and inspect.isfunction(getattr(kind, name))
        }

    assert methods(AsyncAgent) == methods(Agent)


def test_the_async_client_does_the_same(shared_door):
    """Every method, awaited; streams with `async for`; many at a time."""

    async def main():
        async with connect_async(shared_door.url, token="admin-token") as agent:
            assert await asyncio.gather(*(agent.call("sample:add", n) for n in range(20))) == list(range(20))
            assert await agent.call("sample:odd") == {1, 2, 3, 1 + 2j}
            with pytest.raises(TaskFailed, match="on purpose"):
                await agent.call("sample:fail")
            made = await agent.submit("sample:speak", ["heard"])
            assert (await agent.wait(made, timeout=60)).state == "done"
            assert [piece.text async for piece in agent.logs(made, follow=True)] == ["heard\n", "trouble\n"]
            assert (await agent.get(made)).id == made.id
            assert (await agent.operations(limit=1))[0].id == made.id
            assert (await agent.tasks(made))[0].function == "sample:speak"
            assert isinstance((await agent.batch([submission("nowhere:f")]))[0], RequestError)
            held = await agent.submit("sample:hold")
            with pytest.raises(TimeoutError):
                await agent.wait(held, timeout=0.05)
            assert (await agent.cancel(held)).state == "cancelled"
            blob = await agent.put_blob(b"abc")
            assert (await agent.call("sample:echo", blob.argument))["args"] == ["YWJj"]
            script = await agent.submit_script("print('async')", "a.py")
            assert (await agent.wait(script)).state == "done"
            assert isinstance(await agent.agent(), AgentView)
            await agent.add("gamma", 2)
            assert (await agent.reduce("gamma", 1)).total == {"CPU": 1}
            assert "gamma" in {row.name for row in await agent.resources()}
            assert "gamma" in {row.name for row in await agent.neighbours()}
            await agent.remove("gamma")
            assert (await agent.health()).status == "alive"
            assert await agent.ready()
            assert await agent.metrics()
            async for event in agent.events():
                assert event.topic
                break
            await agent.shutdown(1.0)

    asyncio.run(main())


def test_the_async_client_says_where_nobody_is():
    """As the sync one does."""
    url = f"http://127.0.0.1:{free_port()}"

    async def main():
        async with connect_async(url) as agent:
            with pytest.raises(Unreachable, match=url):
                await agent.agent()

    asyncio.run(main())
