"""What `agentd resources add` waits for before it shows the host that it added."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agentd.model.views import ResourceView
from cli import resources

NOTHING = {"CPU": 0, "GPU": 0}


def row(state: str, units: int = 0, *, declared: bool = False) -> ResourceView:
    return ResourceView("beta", "comm", state, NOTHING | {"CPU": units}, NOTHING, NOTHING, [], declared=declared)


class Looked:
    """An agent that shows one host as it is at each look; the time goes on by a second with each."""

    def __init__(self, *rows: ResourceView, why_not: str = "") -> None:
        self.rows = list(rows)
        self.why_not = why_not
        self.now_s = 0.0

    def resources(self) -> list[ResourceView]:
        self.now_s += 1.0
        return [self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]]

    def neighbours(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="beta", state=self.rows[0].state, why_not=self.why_not)]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> object:
    def show(agent: Looked, first: ResourceView) -> tuple[ResourceView, str]:
        clock = SimpleNamespace(monotonic=lambda: agent.now_s, sleep=lambda _: None)
        monkeypatch.setattr(resources, "time", clock)
        return resources._once_linked(agent, first)  # type: ignore[arg-type]

    return show


def test_it_waits_for_the_link_and_for_what_the_host_reports(shown):
    """The report comes right after the link: the row has it."""
    agent = Looked(row("connecting"), row("connected"), row("connected", 4))
    assert shown(agent, row("connecting")) == (row("connected", 4), "")


def test_it_waits_for_no_report_where_the_operator_has_said_what_is_granted(shown):
    """Nor is a second row asked for."""
    agent = Looked(row("connected", declared=True))
    assert shown(agent, row("connected", declared=True)) == (row("connected", declared=True), "")
    assert agent.now_s == 0.0


def test_a_host_that_has_nothing_to_grant_is_not_waited_for_without_end(shown):
    """It is connected, and that is what is said."""
    assert shown(Looked(row("connected")), row("connecting")) == (row("connected"), "")


def test_it_says_why_there_is_no_link(shown):
    """What the agent knows of it, at once; else, after a while, that there is no answer."""
    assert shown(Looked(row("connecting"), why_not="refused"), row("connecting"))[1] == "refused"
    assert shown(Looked(row("connecting")), row("connecting"))[1] == "it has not answered"
