"""Who shares an agent: whose a task is, what its sender is charged, and what is said of it."""

from __future__ import annotations

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.placing.queue import UNKNOWN_S
from agentd.core.placing.senders import LEFT_MOST, SENDERS_MOST, Senders
from agentd.core.state import Rules
from agentd.core.tasks.task import Task
from agentd.model.graph import Spawned
from agentd.model.task import Failure, Form, Reason, Template
from agentd.model.values import Payload
from tests.unit.core.engine_desk import CALL, PLAIN, Desk

CHILD = Template("m:child", Form.TASK)


def runs(desk: Desk) -> list[Task]:
    """Give the tasks that were handed to workers in the last turn."""
    return [task for command in desk.of(c.RunTasks) for task in command.tasks]


def user_asks(desk: Desk, user: str, *, count: int = 1) -> None:
    """Let a user of the REST interface submit operations."""
    desk.turn(*[e.OperationSubmitted(50, PLAIN, Payload(), user=user) for _ in range(count)])
    desk.commit()


def test_a_neighbours_many_tasks_delay_a_call_by_one() -> None:
    """What runs ends, then it is the turn of who has waited with less."""
    desk = Desk(1)
    desk.neighbour("n", is_pooled=False)
    for number in range(1000, 1020):
        desk.offer(number)
    caller = desk.open_session()
    desk.call(caller, 1)
    assert not runs(desk)
    desk.end(1, 1000)
    (task,) = runs(desk)
    assert task.caller == caller


def test_users_are_told_apart_and_one_users_operations_are_in_one_order() -> None:
    """A second user's first operation goes before the first one's second; the same user's does not."""
    desk = Desk(1)
    user_asks(desk, "token:ann", count=4)
    user_asks(desk, "token:ben")
    order = [task.share for task in sorted(desk.state.tasks.values(), key=lambda task: task.order)]
    assert order == [-1, -1, -1, -1, -2]
    (first,) = [task for task in desk.state.tasks.values() if task.placed_at or task.worker]
    desk.end(1, first.id)
    assert [task.share for task in runs(desk)] == [-2]


def test_a_users_sessions_and_operations_are_one_senders() -> None:
    """By whatever door a user comes, and over however many connections, it is served as one; its programs in turn."""
    desk = Desk(1)
    sessions = [desk.open_session(caller=number, user="token:ann") for number in (71, 72, 73)]
    for session in sessions:
        desk.call(session, 1, 2)
    user_asks(desk, "token:ann")
    user_asks(desk, "token:ben", count=3)
    queue, senders = desk.state.queue, desk.state.senders
    assert {senders.name(row.number): row.tasks for row in queue.standings()} == {"user ann": 6, "user ben": 3}
    order = []
    while running := [task for task in desk.state.tasks.values() if task.worker]:
        (task,) = running
        order.append(task.caller or task.share)
        desk.end(task.worker, task.id)
    ann, ben = senders.number("token:ann", None), senders.number("token:ben", None)
    assert [number for number in order[1:7] if number == ben] == [ben] * 3
    assert sorted([number for number in order if number != ben][1:5]) == sorted([*sessions, ann])


def test_what_a_session_leaves_behind_stays_its_users() -> None:
    """Durable calls outlive their session, and a restart, as their user's; of sessions that left few are remembered."""
    desk = Desk(1)
    desk.call(desk.open_session(caller=71, user="local"), 1)
    desk.call(desk.open_session(PLAIN, caller=72, user="local"), 1, 2)
    desk.commit()
    desk.turn(e.CallerLeft(72))
    desk.commit()
    senders = desk.state.senders
    assert [operation.user for operation in desk.state.ledger.operations.values()] == ["local", "local"]
    assert [row.number for row in desk.state.queue.standings()] == [senders.number("local", None)]
    for number in range(100, 100 + 3 * LEFT_MOST):
        senders.join(number, "local")
        senders.leave(number)
    assert len(senders.of_sessions) <= LEFT_MOST + 1
    assert senders.of_sessions[71] == senders.number("local", None)


def test_one_order_for_all_where_the_operator_wants_it() -> None:
    """With fair_share off age alone counts, whoever asks."""
    desk = Desk(1, rules=Rules(fair_share=False))
    user_asks(desk, "token:ann", count=3)
    user_asks(desk, "token:ben")
    (first,) = [task for task in desk.state.tasks.values() if task.worker]
    desk.end(1, first.id)
    assert [task.share for task in runs(desk)] == [-1]


def test_what_a_task_asks_for_is_its_askers() -> None:
    """Children of a session's call wait in the session's share, not in one of their own."""
    desk = Desk(1)
    caller = desk.open_session()
    desk.call(caller, 1)
    (root,) = runs(desk)
    desk.turn(e.TemplatesDeclared(-1, ((7, CHILD),)))
    spawned = [Spawned(number, 7, Payload(), makes=(number,)) for number in (1, 2)]
    desk.turn(e.TasksSpawned(1, root.id, spawned))
    children = [task for task in desk.state.tasks.values() if task.family == root.id]
    assert [task.share for task in children] == [caller, caller]
    assert [row.number for row in desk.state.queue.standings()] == [caller]


def test_a_task_that_waits_for_others_is_not_charged_for_it() -> None:
    """An hour in which a program only waited for its tasks costs its sender nothing."""
    desk = Desk(1)
    user_asks(desk, "token:ann")
    caller = desk.open_session()
    desk.call(caller, 1)
    (root,) = [task for task in desk.state.tasks.values() if task.worker]
    desk.turn(e.TemplatesDeclared(-root.worker, ((7, CHILD),)))
    desk.turn(e.TasksSpawned(root.worker, root.id, [Spawned(1, 7, Payload(), makes=(1,))]))
    desk.turn(e.VersionsAwaited(root.worker, root.id, 1, [1], wants_values=False), after_s=1.0)
    shares = desk.state.queue._shares
    before = shares[root.share].sender.tag
    (call,) = [task for task in desk.state.tasks.values() if task.caller]
    (child,) = [task for task in desk.state.tasks.values() if task.family]
    desk.turn(after_s=3600.0)
    desk.end(call.worker, call.id)
    desk.end(child.worker, child.id)
    assert desk.of(c.Resume)
    desk.turn(after_s=1.0)
    desk.end(root.worker, root.id, seconds=3602.0)
    assert 0.0 < shares[root.share].sender.tag - before < 3.0


def test_senders_are_named_and_their_number_is_bounded() -> None:
    """People read who waits; invented names fill no memory."""
    senders = Senders()
    assert senders.name(senders.number("token:ann", None)) == "user ann"
    assert senders.name(senders.number("local", None)) == "user local"
    assert senders.number("token:default", None) == senders.number("local", None), "both are the agent's own user"
    assert senders.name(senders.number("", "phone")) == "neighbour phone"
    assert senders.name(7) == "session 7"
    assert senders.number("", None) == 0
    for number in range(SENDERS_MOST + 10):
        senders.number(f"u{number}", None)
    assert senders.number("one more", None) == 0
    assert senders.name(0) == "others"


def test_what_comes_back_unstarted_costs_nothing() -> None:
    """A task whose worker was lost before it began is charged once, when it is placed again."""
    desk = Desk(1)
    caller = desk.open_session(CALL)
    desk.call(caller, 1)
    sender, (task,) = desk.state.queue._shares[caller].sender, runs(desk)
    once = sender.tag
    desk.turn(e.WorkerLost(task.worker, Failure(Reason.SIGNAL, "Killed", "it was killed")))
    assert runs(desk) == [task]
    assert sender.tag == once
    desk.turn(e.WorkerLost(task.worker, Failure(Reason.SIGNAL, "Killed", "it was killed"), task.id), after_s=5.0)
    assert sender.tag >= once + 5.0 - UNKNOWN_S
