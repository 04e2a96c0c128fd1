"""Workers that serve a session, as the daemon counts them."""

from __future__ import annotations

from types import SimpleNamespace

from agentd.model.task import Form, Template
from agentd.workers.direct_lines import DirectLines


class Process:
    """A worker as far as lines look at it."""

    def __init__(self, *tasks: int) -> None:
        self.line = list(tasks)


def test_tasks_that_serve_a_session_are_told_from_those_that_the_daemon_has_to_do_with() -> None:
    """With nothing but such lines there is nothing to do; beside any other task, or once one has ended, there is."""
    lines = DirectLines()
    process = Process(7)
    assert lines.are_all({})
    assert not lines.are_all({7})
    template = Template("direct line", form=Form.DIRECT)
    lines.note(process, SimpleNamespace(id=7, shape=SimpleNamespace(template=template)))
    assert lines.are_all({7})
    assert lines.are_all({})
    assert not lines.are_all({7, 8})
    process.line.clear()
    lines.look()
    assert not lines.are_all({8})
