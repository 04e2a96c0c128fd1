"""Tasks that are commands, MPI runs, requests or in containers: what is run, and what is said when it cannot be."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentd.api import (
    FILE_IN,
    FILE_INOUT,
    FILE_OUT,
    FILE_STDERR,
    FILE_STDIN,
    FILE_STDOUT,
    INOUT,
    STDOUT,
    CommandFailed,
    DefinitionError,
    Prefix,
    StdIOStream,
    Type,
    Unavailable,
    binary,
    constraint,
    container,
    epilog,
    http,
    implement,
    mpi,
    mpmd_mpi,
    multinode,
    prolog,
    task,
)
from agentd.api.decorators.commands import allowed_path
from agentd.api.tasks.definition import definition_of
from agentd.api.tasks.runtime import PORT
from agentd.api.tasks.ways import ways_of


def _program(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put programs on the PATH: `on_path(name, source)`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return lambda name, text: _program(folder, name, text)


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have this process look like a worker of agent `probe`, with what `in_worker(**words)` says of it."""

    def enter(**words: Any) -> None:
        module = types.ModuleType(PORT)
        vars(module).update({"agent": "probe", "allow_binary": (), "services": {}, **words})
        monkeypatch.setitem(sys.modules, PORT, module)

    return enter


SHOW = "import sys, json; print(json.dumps(sys.argv[1:]))"


def test_arguments_in_order_with_prefixes_and_streams(on_path: Callable[[str, str], Path], tmp_path: Path) -> None:
    """Parameters become arguments, lists one for each element; those that stand for streams redirect them."""
    on_path("show", SHOW)

    @binary(binary="show")
    @task(b={Type: FILE_IN, Prefix: "--in="}, out={Type: FILE_OUT, StdIOStream: STDOUT})
    def show(a: Any, b: str, c: Any, d: bool, e: Any, out: str) -> Any:
        return a, b, c, d, e, out

    assert show(1, "/x", [2, ["three"]], True, None, str(tmp_path / "out")) == 0
    assert json.loads((tmp_path / "out").read_text()) == ["1", "--in=/x", "2", "three", "true"]


def test_arguments_by_name(
    on_path: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`{{parameter}}` stands for its value as one argument, whatever is in it; `$NAME` for the environment's."""
    on_path("show", SHOW)
    monkeypatch.setenv("PLACE", "here")

    @binary(binary="{{program}}", args="-x '{{a}} y' {{b}} $PLACE $(id) ; ls", working_dir="{{folder}}/new")
    @task(out=FILE_STDOUT)
    def show(program: str, a: str, out: str, folder: str, b: Any = 3) -> Any:
        return program, a, out, folder, b

    show("show", "two words; $(rm x)", str(tmp_path / "out"), str(tmp_path))
    said = json.loads((tmp_path / "out").read_text())
    assert said == ["-x", "two words; $(rm x) y", "3", "here", "$(id)", ";", "ls"]
    assert (tmp_path / "new").is_dir()


def test_standard_streams_of_every_direction(on_path: Callable[[str, str], Path], tmp_path: Path) -> None:
    """Input is read, output replaced or, for INOUT, added to; errors are a stream of their own."""
    on_path("echo_back", "import sys; print(sys.stdin.read().upper(), end=''); print('warned', file=sys.stderr)")
    source, out, log = tmp_path / "in", tmp_path / "out", tmp_path / "log"
    source.write_text("a\n")

    @binary(binary="echo_back")
    @task(given=FILE_STDIN, out={Type: FILE_INOUT, StdIOStream: STDOUT}, log=FILE_STDERR)
    def shout(given: str, out: str, log: str) -> Any:
        return given, out, log

    for _ in range(2):
        shout(str(source), str(out), str(log))
    assert (out.read_text(), log.read_text()) == ("A\nA\n", "warned\n")


def test_exit_codes_count_unless_they_do_not(on_path: Callable[[str, str], Path]) -> None:
    """A code other than 0 fails the task, with the line and the code; or is what the task gives."""
    on_path("three", "import sys; sys.exit(3)")
    on_path("killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    @binary(binary="three")
    @task(returns=int)
    def strict() -> int:
        return 0

    @binary(binary="three", fail_by_exit_value="False")
    @task(returns=int)
    def lenient() -> int:
        return 0

    @binary(binary="killed")
    @task()
    def killed() -> None:
        return None

    with pytest.raises(CommandFailed, match="exit code 3") as caught:
        strict()
    assert caught.value.code == 3
    assert lenient() == 3
    with pytest.raises(CommandFailed, match="SIGKILL"):
        killed()


def test_a_command_that_is_missing_or_not_allowed_is_named(
    on_path: Callable[[str, str], Path], in_worker: Callable[..., None]
) -> None:
    """The message names the command and the agent, and nothing has run; the operator's list opens what it names."""
    path = on_path("show", SHOW)
    with pytest.raises(Unavailable, match="no_such_program is not on this device"):
        allowed_path("no_such_program")
    assert allowed_path("show") == str(path)
    in_worker()
    with pytest.raises(Unavailable, match=r"agent probe may not run show: .*--allow-binary"):
        allowed_path("show")
    for operators in (("show",), (str(path),), ("*",)):
        in_worker(allow_binary=operators)
        assert allowed_path("show") == str(path)
        assert allowed_path(str(path)) == str(path)
    in_worker(allow_binary=("ls",))
    with pytest.raises(Unavailable):
        allowed_path(str(path))
    with pytest.raises(Unavailable, match="agent probe"):
        allowed_path("no_such_program")


def test_commands_before_and_after_a_task(on_path: Callable[[str, str], Path], tmp_path: Path) -> None:
    """Both are found before anything runs; before it counts, after it does not unless it is asked for."""
    on_path("note", "import sys; open(sys.argv[1], 'a').write(sys.argv[2])")
    on_path("three", "import sys; sys.exit(3)")
    place = str(tmp_path / "notes")

    @prolog(binary="note", args="{{place}} before,")
    @epilog(binary="note", args="{{place}} after")
    @task(returns=1, place=FILE_INOUT)
    def noted(place: str) -> int:
        with open(place, "a") as file:
            file.write("task,")
        return 5

    assert noted(place) == 5
    assert Path(place).read_text() == "before,task,after"

    @prolog(binary="three")
    @task(returns=1)
    def never() -> int:
        raise AssertionError

    @epilog(binary="three")
    @task(returns=1)
    def careless() -> int:
        return 1

    @epilog(binary="three", fail_by_exit_value=True)
    @task(returns=1)
    def careful() -> int:
        return 1

    @prolog(binary="note", args="{{place}} again")
    @epilog(binary="no_such_program")
    @task(returns=1)
    def incomplete(place: str) -> int:
        raise AssertionError(place)

    with pytest.raises(CommandFailed, match="exit code 3"):
        never()
    assert careless() == 1
    with pytest.raises(CommandFailed, match="exit code 3"):
        careful()
    with pytest.raises(Unavailable, match="no_such_program"):
        incomplete(place)
    assert Path(place).read_text() == "before,task,after"


@pytest.mark.parametrize(
    ("decorate", "said"),
    [
        (binary, "needs binary"),
        (lambda: binary(binary="x", argz="y"), "no argument argz"),
        (lambda: binary(binary="x", args="{{b}}")(task()(lambda a: a)), "no parameter for {{b}}"),
        (lambda: binary("x"), "by name"),
        (lambda: mpi(processes=2), "needs runner"),
        (lambda: mpi(runner="mpirun", processes=0)(task()(lambda a: a)), "1 or more"),
        (lambda: mpi(runner="mpirun", b_layout={})(task()(lambda a: a)), "no parameter b"),
        (lambda: mpi(runner="mpirun", a_layout={"blocks": 1})(task()(lambda a: a)), "block_count"),
        (lambda: container(engine="PODMAN", image="x")(task()(lambda a: a)), "DOCKER, SINGULARITY, UDOCKER"),
        (lambda: http(service_name="s", resource="r"), "needs request"),
        (lambda: http(service_name="s", resource="r", request="FETCH")(task()(lambda a: a)), "GET, POST"),
        (lambda: http(service_name="s", resource="{{b}}", request="GET")(task()(lambda a: a)), "{{b}}"),
        (lambda: http(service_name="s", resource="r", request="GET", produces="{")(task()(lambda a: a)), "no JSON"),
        (lambda: http(service_name="s", resource="r", request="GET", updates="a=1")(task()(lambda a: a)), "updates"),
        (lambda: implement(method="m"), "needs source_class"),
        (lambda: multinode(nodes=1), "no argument nodes"),
        (lambda: mpmd_mpi(runner="mpirun"), "needs programs"),
        (lambda: mpmd_mpi(runner="mpirun", programs=[]), "a list of dicts"),
        (lambda: mpmd_mpi(runner="mpirun", programs=["a"]), "a dict of binary"),
        (lambda: mpmd_mpi(runner="mpirun", programs=[{"processes": 1}]), "a program needs binary"),
        (lambda: mpmd_mpi(runner="mpirun", programs=[{"binary": "a", "args": "{{b}}"}])(task()(lambda a: a)), "{{b}}"),
        (lambda: mpmd_mpi(runner="m", programs=[{"binary": "a", "processes": 0}])(task()(lambda a: a)), "1 or more"),
    ],
)
def test_wrong_words_are_refused(decorate: Callable[[], Any], said: str) -> None:
    """Where the function is decorated, with what is missing, unknown or wrong."""
    with pytest.raises(DefinitionError, match=said.replace("{", r"\{")):
        decorate()


MPIRUN = """
import os, subprocess, sys
args = sys.argv[1:]
place = args.index("-n")
ranks = [
    subprocess.Popen(
        args[place + 2:], env=os.environ | {"OMPI_COMM_WORLD_RANK": str(n), "FLAGS": " ".join(args[:place])}
    )
    for n in range(int(args[place + 1]))
]
sys.exit(max(one.wait() for one in ranks))
"""
"""Starts its ranks as the real one does, on one device."""
RANKS = """
from agentd.api import mpi, task
import os

LAYOUT = {"block_count": 2, "block_length": 2, "stride": 2}

@mpi(runner="mpirun", processes="{n}", flags="--bind none", data_layout=LAYOUT)
@task(returns=2)
def shares(data, n, *rest, scale=1):
    return int(os.environ["OMPI_COMM_WORLD_RANK"]), [scale * one for one in data], rest, os.environ["FLAGS"]

@mpi(runner="mpirun", processes=2)
@task(returns=1)
def broken(data):
    if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
        raise ValueError(f"rank one has {data}")
    return 0
"""


def test_a_function_is_called_by_the_ranks_of_an_mpi_run(
    on_path: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its part of the list, and what they give comes back in the order of their ranks; a failure too."""
    on_path("mpirun", MPIRUN)
    (tmp_path / "ranks_of_test.py").write_text(RANKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import ranks_of_test  # type: ignore[import-not-found]

    assert ranks_of_test.shares([1, 2, 3, 4], 2, "more", scale=10) == [
        (0, [10, 20], ("more",), "--bind none"),
        (1, [30, 40], ("more",), "--bind none"),
    ]
    with pytest.raises(ValueError, match=r"rank one has \[7\]"):
        ranks_of_test.broken([7])


def test_an_mpi_program_is_started_by_its_runner(on_path: Callable[[str, str], Path], tmp_path: Path) -> None:
    """As many of its processes as are asked for, each with the task's arguments."""
    on_path("mpirun", MPIRUN)
    on_path("append", "import os, sys; open(sys.argv[1] + os.environ['OMPI_COMM_WORLD_RANK'], 'w').write(sys.argv[2])")

    @mpi(runner="mpirun", binary="append", processes="$RANKS", args="{{place}} {{word}}")
    @task(returns=int)
    def run(place: str, word: str) -> Any:
        return place, word

    with pytest.raises(Unavailable, match="RANKS"):
        run(str(tmp_path / "r"), "hello")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANKS", "3")
        assert run(str(tmp_path / "r"), "hello") == 0
    assert sorted(file.name for file in tmp_path.glob("r?")) == ["r0", "r1", "r2"]


def test_what_mpi_and_containers_need_is_named(monkeypatch: pytest.MonkeyPatch, in_worker: Callable[..., None]) -> None:
    """Without the runner, or the engine, nothing runs, and the message says which, and where."""
    monkeypatch.setenv("PATH", "/nonexistent")
    in_worker(allow_binary=("*",))
    functions = {
        "mpirun": mpi(runner="mpirun", binary="x")(task()(lambda: 0)),
        "docker": container(engine="docker", image="x")(binary(binary="ls")(task()(lambda: 0))),
        "udocker": container(engine="UDOCKER", image="x")(task()(lambda: 0)),
    }
    for program, function in functions.items():
        with pytest.raises(Unavailable, match=f"{program} is not on agent probe"):
            function()


def test_a_container_gets_the_command_and_the_folders(on_path: Callable[[str, str], Path], tmp_path: Path) -> None:
    """The engine is given the image, the options, the folders of the task's files, and the command."""
    for engine in ("docker", "singularity", "udocker"):
        on_path(engine, f"import json, sys; open({str(tmp_path / 'said')!r}, 'w').write(json.dumps(sys.argv[1:]))")
    data = tmp_path / "data" / "file"
    data.parent.mkdir()
    data.write_text("x")
    for engine, bind in (("DOCKER", "-v"), ("SINGULARITY", "--bind"), ("UDOCKER", "-v")):

        @container(engine=engine, image="img:{{tag}}", options="--net none")
        @binary(binary="count", args="-l {{file}}")
        @task(returns=int, file=FILE_IN)
        def count(file: str, tag: str) -> Any:
            return file, tag

        assert count(str(data), "7") == 0
        said = json.loads((tmp_path / "said").read_text())
        assert said[-6:] == ["--net", "none", "img:7", "count", "-l", str(data)]
        place = str(data.parent)
        assert said[said.index(place if engine == "SINGULARITY" else f"{place}:{place}") - 1] == bind


DOCKER = """
import os, sys
args = sys.argv[1:]
os.environ["INSIDE"] = args[args.index("python3") - 1]
os.execv(sys.executable, [sys.executable, *args[args.index("python3") + 1:]])
"""
BOXED = """
from agentd.api import container, task
import os

@container(engine="DOCKER", image="python:3.11")
@task(returns=1)
def boxed(a, b=2):
    return os.environ["INSIDE"], a + b
"""


def test_a_function_runs_in_a_container(
    on_path: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container's Python finds the function by its module, and its value comes back."""
    on_path("docker", DOCKER)
    (tmp_path / "boxed_of_test.py").write_text(BOXED)
    monkeypatch.syspath_prepend(str(tmp_path))
    import boxed_of_test  # type: ignore[import-not-found]

    assert boxed_of_test.boxed(3) == ("python:3.11", 5)


class _Service(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if self.path.endswith("missing"):
            self.send_error(404, "not here")
            return
        sent = json.loads(body) if body else None
        said = json.dumps({"method": self.command, "path": self.path, "sent": sent, "deep": {"list": [1, {"x": 2}]}})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said.encode())

    do_GET = do_POST = _answer  # noqa: N815 - the names that the server looks for

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    """Serve HTTP on a free port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_request_is_made_and_read(service: str, in_worker: Callable[..., None]) -> None:
    """Arguments go into path and payload, quoted as each needs it; parts of the answer come back, or change one."""
    in_worker(services={"station": service})

    @http(service_name="station", resource="read/{{place}}", request="GET")
    @task(returns=1)
    def read(place: str) -> Any:
        return place

    assert read("a b/c")["path"] == "/read/a%20b%2Fc"

    @http(
        service_name="station",
        resource="send",
        request="POST",
        payload='{"text": "{{text}}", "number": {{number}}, "list": {{text}}}',
        produces='{"sent": "{{return_0}}", "deep": {"list": ["#", {"x": {{return_1}}}]}}',
        updates="{{event}}.answer.x = {{return_1}}",
    )
    @task(returns=2, event=INOUT)
    def send(text: str, number: int, event: dict[str, Any]) -> Any:
        return text, number, event

    event: dict[str, Any] = {}
    sent, x = send('say "hi"', 3, event)
    assert sent == {"text": 'say "hi"', "number": 3, "list": 'say "hi"'}
    assert (x, event) == (2, {"answer": {"x": 2}})


def test_a_request_that_fails_says_why(service: str, in_worker: Callable[..., None]) -> None:
    """An unknown service is named with the agent; an answer that is no success is the task's failure."""
    in_worker(services={"station": service})

    @http(service_name="statoin", resource="x", request="GET")
    @task(returns=1)
    def unknown() -> Any:
        return None

    @http(service_name="station", resource="missing", request="GET")
    @task(returns=1)
    def missing() -> Any:
        return None

    @http(service_name="station", resource="x", request="GET", produces='{"nothing": "{{return_0}}"}')
    @task(returns=1)
    def other() -> Any:
        return None

    with pytest.raises(Unavailable, match="agent probe knows no HTTP service statoin"):
        unknown()
    with pytest.raises(CommandFailed, match="404") as caught:
        missing()
    assert caught.value.code == 404
    with pytest.raises(CommandFailed, match="has not the form"):
        other()


def test_a_task_of_several_nodes_is_told_of_them(
    in_worker: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs, with as many threads as each node has; what was there before is there again."""
    in_worker()
    monkeypatch.setenv("COMPSS_NUM_NODES", "1")
    monkeypatch.delenv("COMPSS_NODES", raising=False)

    @constraint(computing_units=2)
    @multinode(computing_nodes="{n}")
    @task(returns=1)
    def spread(n: int) -> list[str]:
        return [os.environ[f"COMPSS_{name}"] for name in ("NUM_NODES", "HOSTNAMES", "NUM_THREADS")]

    assert spread(3) == ["3", "probe,probe,probe", "2"]
    assert (os.environ["COMPSS_NUM_NODES"], os.environ.get("COMPSS_NODES")) == ("1", None)
    monkeypatch.setenv("COMPSS_HOSTNAMES", "probe")
    monkeypatch.setenv("COMPSS_NUM_THREADS", "2")
    assert spread(1) == ["1", "probe", "2"]


def test_processes_take_nodes() -> None:
    """As many as they fill, so that each has its cores."""

    def nodes(**words: Any) -> Any:
        found = definition_of(mpi(runner="mpirun", **words)(task()(lambda n: n)))
        assert found is not None
        given = found.options["nodes"]
        return given({"n": 7}) if callable(given) else given

    assert (nodes(processes=4), nodes(processes="4", processes_per_node=2), nodes()) == (4, 2, 1)
    assert nodes(processes="n", processes_per_node="2") == 4


def test_numba_is_named_where_it_is_missing(in_worker: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is to be compiled needs numba there; with it, the function is compiled once, as asked."""
    in_worker()
    function = task(returns=1, numba="njit", numba_flags={"cache": True})(lambda a: a + 1)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(Unavailable, match="numba is not installed on agent probe"):
        function(1)
    fake = types.ModuleType("numba")
    asked: list[Any] = []

    def njit(**flags: Any) -> Any:
        asked.append(flags)
        return lambda inner: lambda a: inner(a) * 10

    fake.njit = njit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numba", fake)
    assert (function(1), function(2)) == (20, 30)
    assert asked == [{"cache": True}]


@implement(source_class=__name__, method="slow_way")
@task(returns=1)
def early_way(n: int) -> str:
    return f"early {n}"


@task(returns=1)
def slow_way(n: int) -> str:
    return f"slow {n}"


@constraint(computing_units=2)
@implement(source_class=__name__, method="slow_way")
@task(returns=1)
def quick_way(n: int) -> str:
    return f"quick {n}"


def test_ways_are_known_wherever_they_stand() -> None:
    """Before or after the task, with what decorators above them say; in place a task is itself."""
    definition = definition_of(slow_way)
    assert definition is not None
    assert [(way.qualname, dict(way.constraints)) for way in ways_of(definition)] == [
        ("early_way", {}),
        ("quick_way", {"computing_units": 2}),
    ]
    other = definition_of(quick_way)
    assert other is not None
    assert ways_of(other) == []
    assert slow_way(1) == "slow 1"


def test_a_way_of_nothing_is_told() -> None:
    """A module that is there has no such task: wrong; a module that is not there: a warning, as it may come."""
    with pytest.raises(DefinitionError, match="no task no_such_task in json"):
        implement(source_class="json", method="no_such_task")(task()(lambda a: a))
    with pytest.warns(UserWarning, match="no module no_such_module.*never chosen"):
        implement(source_class="no_such_module", method="m")(task()(lambda a: a))
