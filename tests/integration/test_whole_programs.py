"""Whole programs with tasks: by `agentd run`, in a session with a running agent, sent to an agent, and without any."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentd import api
from agentd.api.tasks.runtime import IN_PLACE, current
from agentd.model.errors import AgentdError
from tests.conftest import ROOT, StartAgent, agent_environment
from tests.fakes.marked import marked

APPS = ROOT / "tests" / "integration" / "apps"
PROGRAM = APPS / "whole_program.py"
sys.path.insert(0, str(APPS))
import nested_tasks as apps  # noqa: E402 - the same module that the agent's workers import

ROOTS = os.pathsep.join((str(APPS), str(ROOT)))
LONG_S = 90.0
"""No program takes so long unless something is broken."""


def agentd(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its temporary files are in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "agentd", *map(str, words)],
        env=agent_environment(TMPDIR=str(folder)),
        input="typed\n",
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )


def test_a_program_runs_with_an_agent_of_its_own(tmp_path: Path) -> None:
    """Its input, output and exit code are the program's, its tasks run elsewhere, and nothing is left behind."""
    ended = agentd(tmp_path, "run", "--cpu", "2", "--pythonpath", ROOT, PROGRAM, "a", "exit")
    assert ended.stdout == "3 10 typed a exit\nelsewhere\n", ended.stderr
    assert ended.returncode == 7
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["wait", "fail"])
def test_a_program_fails_with_its_tasks(tmp_path: Path, how: str) -> None:
    """Exit code 1 and the remote traceback, also for a task that nobody waited for."""
    ended = agentd(tmp_path, "run", "--cpu", "1", "--pythonpath", ROOT, PROGRAM, how)
    assert ended.returncode == 1
    assert "ZeroDivisionError: on purpose" in ended.stderr
    assert 'raise ZeroDivisionError("on purpose")' in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """Nothing is started for it."""
    ended = agentd(tmp_path, "run", tmp_path / "none.py")
    assert ended.returncode == 2
    assert "there is no file" in ended.stderr


def test_the_same_file_is_a_plain_program(tmp_path: Path) -> None:
    """Without an agent its tasks run in place."""
    ended = subprocess.run(
        [sys.executable, PROGRAM, "a"],
        env=agent_environment(),
        input="typed\n",
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=True,
    )
    assert ended.stdout == "3 10 typed a\nhere\n"


def test_a_program_can_be_sent_to_an_agent(tmp_path: Path, start_agent: StartAgent) -> None:
    """`agentd call FILE.py` runs it as an operation: its tasks are found in it, in whatever worker they run."""
    home = start_agent("--cpu", "2", "--pythonpath", str(ROOT))
    ended = agentd(tmp_path, "call", "--state", home.state, "--follow", PROGRAM, "a")
    assert ended.returncode == 0, ended.stderr
    assert "3 10" in ended.stderr
    assert "elsewhere" in ended.stderr


def test_a_session_lends_an_agent_to_a_program(start_agent: StartAgent) -> None:
    """Calls go to workers while it is open, with objects, arrays, functions by value, and groups; then in place."""
    home = start_agent("--cpu", "2", "--pythonpath", ROOTS)
    with api.attach(home.state):
        assert api.wait_on([apps.echo(number) for number in range(20)]) == list(range(20))
        assert os.getpid() not in {where for where, _ in api.wait_on([apps.process() for _ in range(4)])}
        values: list[int] = []
        apps.note(values, 1)
        apps.note(values, 2)
        assert api.wait_on(values) is values
        assert values == [1, 2]
        numpy = pytest.importorskip("numpy")
        array = api.wait_on(apps.echo(numpy.arange(100_000)))
        array[0] = 5  # the caller's own
        assert array.sum() == 5 + 99_999 * 50_000

        @marked(returns=1)
        def inner(value: int) -> int:
            return value + len(values)

        with api.TaskGroup("group"):
            future = inner(1)
        assert api.wait_on(future) == 3
        with pytest.raises(AgentdError, match="a session is open already"):
            api.attach(home.state)
    assert current() is IN_PLACE
    assert apps.echo(1) == 1


NOTEBOOK = """
import sys
from agentd import api
from tests.fakes.marked import INOUT, marked

class Point:
    def __init__(self, value): self.value = value

def ten_times(value): return 10 * value

@marked(returns=1)
def calculate(value): return Point(ten_times(value))

@marked(returns=1)
def depth(left): return 0 if not left else api.wait_on(depth(left - 1)) + 1

@marked(points=INOUT)
def move(points): points.append(Point(1))

with api.attach(sys.argv[1]):
    points = [api.wait_on(calculate(4))]
    move(points)
    print([point.value for point in api.wait_on(points)], api.wait_on(depth(3)))
"""


def test_what_has_no_file_can_have_tasks(start_agent: StartAgent) -> None:
    """As in a notebook: functions and classes of the program itself reach the workers by value, recursion included."""
    home = start_agent("--cpu", "1", "--pythonpath", ROOTS)
    ended = subprocess.run(
        [sys.executable, "-", home.state],
        env=agent_environment(),
        input=NOTEBOOK,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert ended.stdout == "[40, 1] 3\n", ended.stderr


def test_a_session_tells_of_failures(start_agent: StartAgent) -> None:
    """Who waits gets the task's own exception; what nobody asked for is raised when the session is closed."""
    home = start_agent("--cpu", "1", "--pythonpath", ROOTS)
    with api.attach(home.state), pytest.raises(ZeroDivisionError, match="on purpose") as caught:
        api.wait_on(apps.fail())
    frames = [str(entry.path) for entry in caught.traceback]
    assert frames == [__file__], "the frames of the library tell a user nothing"
    session = api.attach(home.state)
    apps.fail()
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        session.close()
    assert current() is IN_PLACE


def test_a_session_needs_an_agent(tmp_path: Path) -> None:
    """Where none runs, the message says where it was looked for."""
    with pytest.raises(AgentdError, match=str(tmp_path)):
        api.attach(tmp_path)
    assert current() is IN_PLACE


@pytest.mark.parametrize("how", ["run", "call"])
def test_a_program_without_a_main_guard_does_its_work_once(tmp_path: Path, start_agent: StartAgent, how: str) -> None:
    """Workers have its functions, settings and arguments; each task runs once, each line is said once."""
    script, folder = APPS / "unguarded.py", tmp_path / "made"
    folder.mkdir()
    more = ("--cpu", "2") if how == "run" else ("--state", start_agent("--cpu", "2").state)
    ended = agentd(tmp_path, how, *more, script, "4", folder)
    assert ended.stdout == "begins\ncalled\n812\n", ended.stderr
    assert {file.name: file.read_text() for file in folder.iterdir()} == {f"ran-{n}": "x" for n in range(4)}


WRONG = {
    "future": ("    x = inc(1)\n    print(x + 1)", "__main__:inc returns, is no value yet and cannot be used in +"),
    "missing": ("    inc()", "__main__:inc: missing a required argument: 'x'"),
    "pickle": ("    inc([1, {'a': threading.Lock()}])", "argument x[1]['a'] (a lock) cannot be pickled"),
    "collection": ("    add_all(3)", "argument parts is a collection: give a list, a tuple or a dict, not 3"),
    "file": ("    read('none.txt')", "there is no file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_of_the_line_that_is_wrong(tmp_path: Path, start_agent: StartAgent, name: str) -> None:
    """The last line says what to do, the traceback shows the program alone, and no task was queued."""
    home = start_agent("--cpu", "1")
    lines, said = WRONG[name]
    program = tmp_path / "wrong.py"
    program.write_text(
        "import sys, threading\n"
        "from agentd.api import COLLECTION_IN, FILE_IN, attach, task\n"
        "@task(returns=int)\ndef inc(x):\n    return x + 1\n"
        "@task(parts=COLLECTION_IN)\ndef add_all(parts):\n    pass\n"
        "@task(file=FILE_IN)\ndef read(file):\n    pass\n"
        f"if __name__ == '__main__':\n{lines}\n"
    )
    code = f"import sys; sys.path.append({str(ROOT)!r}); from agentd.api.tasks.program import main; main(sys.argv[1:])"
    ended = subprocess.run(
        [sys.executable, "-c", code, home.state, program],
        env=agent_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr.strip().splitlines()[-1]
    files = [line for line in ended.stderr.splitlines() if line.startswith("  File ")]
    assert files == [f'  File "{program}", line {13 + lines.count(chr(10))}, in <module>']


def test_values_that_never_come_are_warned_of_where_they_are_awaited(tmp_path: Path) -> None:
    """PyCOMPSs' door gives None; the warning names the program's line, the reason, and where it was."""
    program = tmp_path / "late.py"
    program.write_text(
        "from pycompss.api.api import compss_wait_on\nfrom pycompss.api.parameter import COLLECTION_INOUT\n"
        "from pycompss.api.task import task\n"
        "@task(c=COLLECTION_INOUT)\ndef grow(c):\n    c.append(1)\n"
        "if __name__ == '__main__':\n    c = [[1], [2]]\n    grow(c)\n    print(compss_wait_on(c))\n"
    )
    ended = agentd(tmp_path, "run", "--cpu", "1", program)
    assert ended.stdout == "[None, None]\n"
    assert f"{program}:10: RuntimeWarning" in ended.stderr
    assert "collection c had 2 elements and now has 3" in ended.stderr
    assert "attempt 1" in ended.stderr, "to run it again is of no use"


@pytest.mark.parametrize("how", ["run", "call"])
def test_tasks_of_modules_are_given_what_a_program_defines(tmp_path: Path, start_agent: StartAgent, how: str) -> None:
    """Functions and objects of classes of the program, generators, and lists inside of lists that grow."""
    more = ("--cpu", "2") if how == "run" else ("--state", start_agent("--cpu", "2", "--pythonpath", APPS).state)
    ended = agentd(tmp_path, how, *more, APPS / "passing_program.py", "10")
    assert ended.stdout.splitlines() == [
        "40 41",
        "2 Thing True",
        "5 [2, 3]",
        "[[1, 7, 8], [2, 7, 8], [7, 8]] [[1, 2], [1, 2]]",
        "100",
    ], ended.stderr


def test_what_ran_is_summed_up_at_the_end(tmp_path: Path, start_agent: StartAgent) -> None:
    """`--summary`: an agent prints it as it stops, `agentd run` after the program, with a line for each function."""
    ended = agentd(tmp_path, "run", "--cpu", "2", "--summary", "--pythonpath", ROOT, PROGRAM, "a")
    assert ended.returncode == 0, ended.stderr
    assert "Summary:" not in ended.stdout
    _, _, table = ended.stderr.partition("Summary:\n")
    assert table.split()[:4] == ["function", "tasks", "done", "failed"]
    assert len(table.splitlines()) > 2
    home = start_agent("--cpu", "1", "--summary", "--pythonpath", ROOTS)
    with api.AgentExecutor(home.state) as agents:
        assert agents.submit(apps.in_order, 5).result(60) == list(range(5))
    assert "Summary:" not in home.stdout
    assert home.stop() == 0
    rows = {line.split()[0]: line.split()[1:4] for line in home.stdout.partition("Summary:\n")[2].splitlines()}
    assert rows["nested_tasks:note"] == ["5", "5", "0"]
    assert rows["nested_tasks:in_order"] == ["1", "1", "0"]


ASKS_ITS_AGENT = """
from agentd.api import connect, task, wait_on
@task(returns=str)
def name():
    with connect() as agent:
        return agent.agent().name
if __name__ == "__main__":
    print(wait_on(name()))
"""


def test_a_program_has_a_user_port_where_it_asks_for_one(tmp_path: Path) -> None:
    """Its agent is ready sooner without; who needs it is told how to have it."""
    program = tmp_path / "asks.py"
    program.write_text(ASKS_ITS_AGENT)
    without = agentd(tmp_path, "run", "--cpu", "1", program)
    assert without.returncode == 1
    assert "has no REST interface: start it with --rest-port" in without.stderr
    asked = agentd(tmp_path, "run", "--cpu", "1", "--rest-port", "auto", program)
    assert asked.stdout == "run\n", asked.stderr


TOO_WIDE = """
from agentd.api import constraint, task, wait_on
@constraint(computing_units=1000)
@task(returns=int)
def wide():
    return 1
@task(returns=int)
def outer():
    return wait_on(wide())
if __name__ == "__main__":
    print(wait_on(outer()))
"""


def test_a_task_that_no_host_can_ever_run_does_not_hang_its_program(tmp_path: Path) -> None:
    """Also where another task asks for it, and again after each retry of that one: what is missing is told."""
    program = tmp_path / "wide.py"
    program.write_text(TOO_WIDE)
    ended = agentd(tmp_path, "run", "--cpu", "1", program)
    assert ended.returncode == 1
    assert "this agent: needs 1000 CPU units, the largest matching processor has 1" in ended.stderr
    assert "attempt 4" in ended.stderr


def test_tasks_in_odd_places_run(tmp_path: Path) -> None:
    """Properties, lambdas, functions in functions and in texts run in workers; what cannot be found says why."""
    ended = agentd(tmp_path, "run", "--cpu", "1", "--rest-port", "auto", APPS / "odd_tasks.py")
    assert ended.stdout.splitlines() == [
        "[9, 8, 6, 7] False",
        "what is waited for holds itself, or is nested too deep: wait for its parts",
        "None",
        "True",
    ], ended.stderr
