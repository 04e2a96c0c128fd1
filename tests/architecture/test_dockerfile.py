"""The image: what its recipe promises, and the recipe's steps done here, without a container engine and a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from zipfile import ZipFile

import pytest

from agentd.daemon.settings import resolve
from agentd.store.disk import LocalDisk
from agentd.store.identity import keep_identity
from agentd.store.key_maker import make
from tests.architecture.source_tree import PRODUCT, ROOT
from tests.conftest import StartAgent

Instruction = tuple[str, str]
STATE = "/var/lib/agentd"
DEADLINE_S = 100
"""Chosen: far above what building or starting takes on a busy machine."""


def _instructions() -> list[Instruction]:
    """Read the Dockerfile as (word, rest), with continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def _stages() -> list[list[Instruction]]:
    stages: list[list[Instruction]] = []
    for instruction in _instructions():
        if instruction[0] == "FROM":
            stages.append([])
        if stages:
            stages[-1].append(instruction)
    return stages


def _rest(stage: list[Instruction], word: str) -> list[str]:
    return [rest for name, rest in stage if name == word]


BUILD, RUN = _stages()


# --- the recipe -------------------------------------------------------------------------------------------------


def test_what_runs_is_slim_and_nothing_is_compiled() -> None:
    """Both stages stand on a slim image, only wheels are taken, and no cache is left in a layer."""
    assert [_rest(stage, "FROM")[0].split()[0] for stage in (BUILD, RUN)] == ["python:${PYTHON}-slim"] * 2
    [made] = _rest(BUILD, "RUN")
    assert "--only-binary :all:" in made
    assert made.count("pip wheel --no-cache-dir") + made.count("install --no-cache-dir") == made.count("-m pip")
    assert "apt" not in "".join(_rest(RUN, "RUN"))


def test_the_image_runs_what_the_project_supports() -> None:
    """The default version of Python is one that the project says it runs on."""
    [version] = [rest.removeprefix("PYTHON=") for word, rest in _instructions() if word == "ARG"]
    least = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert tuple(map(int, version.split("."))) >= tuple(map(int, least.removeprefix(">=").split(".")))


def test_the_agent_is_nobody_special() -> None:
    """It runs as a user of its own, which alone owns and enters the one folder that outlives the container."""
    [made] = _rest(RUN, "RUN")
    [user] = _rest(RUN, "USER")
    uid, gid = user.split(":")
    assert int(uid) >= 1000, "numbers below belong to the distribution"
    assert f"groupadd --system --gid {gid} agentd" in made
    assert f"useradd --system --uid {uid} --gid agentd " in made
    assert f"--owner agentd --group agentd --mode 0700 {STATE}" in made
    assert [json.loads(volume) for volume in _rest(RUN, "VOLUME")] == [[STATE]]
    assert any(f"AGENTD_STATE={STATE}" in rest for rest in _rest(RUN, "ENV"))
    assert _rest(RUN, "WORKDIR") == ["/code"], "users' code is found in the current folder: never in the state"
    words = [word for word, _ in RUN]
    assert words.index("RUN") < words.index("VOLUME"), "what is changed after VOLUME is lost"


def test_it_is_open_to_others_over_tls_and_not_otherwise() -> None:
    """Both default ports are declared and reachable, with TLS and a first token; never by the image's word without."""
    assert _rest(RUN, "EXPOSE") == ["46101 46102"]
    assert [json.loads(entry) for entry in _rest(RUN, "ENTRYPOINT")] == [["agentd", "start"]]
    assert not _rest(RUN, "CMD")
    said = " ".join(rest for _, rest in RUN)
    assert "INSECURE" not in said.upper()
    settings = dict(re.findall(r"AGENTD_(\w+)=(\S+)", " ".join(_rest(RUN, "ENV"))))
    anywhere = "0.0.0.0"
    assert settings == {
        "STATE": STATE,
        "REST_HOST": anywhere,
        "REST_TLS": "true",
        "COMM_HOST": anywhere,
        "FIRST_TOKEN": "true",
    }
    resolve({}, {f"AGENTD_{name}": value for name, value in settings.items() if name != "STATE"})


def test_only_what_is_built_from_is_sent_to_the_builder() -> None:
    """Every file that a step copies passes the ignore file, which lets through nothing else."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    passed = {line[1:] for line in lines if line.startswith("!")}
    copied = {name for rest in _rest(BUILD, "COPY") for name in rest.split()[:-1]}
    assert "*" in lines
    assert passed == copied


# --- the health check -------------------------------------------------------------------------------------------


class _Health(BaseHTTPRequestHandler):
    """Answers `/health` as it is told to."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep silent: the test's own output matters."""


def _tls(folder: Path) -> ssl.SSLContext:
    kept = keep_identity(LocalDisk(), folder, make("kitchen", 2026))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(kept.path)
    return context


@pytest.fixture
def health_port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Serve `/health` with the status of the parameter."""
    answering = type("Answering", (_Health,), {"status": request.param})
    with HTTPServer(("127.0.0.1", 0), answering) as server:
        server.socket = _tls(tmp_path).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("health_port", "is_healthy"), [(200, True), (503, False)], indirect=["health_port"])
def test_the_health_check_tells_well_from_ill(health_port: int, is_healthy: bool) -> None:
    """The check ends with 0 only if the agent says that it is well; a proxy in the environment is passed by."""
    assert _is_healthy(health_port) is is_healthy


def _is_healthy(port: int) -> bool:
    """Run the check as it is written, but for the port."""
    [check] = _rest(RUN, "HEALTHCHECK")
    program, *arguments = json.loads(check[check.index("CMD") + 3 :])
    assert program == "python"
    arguments = [argument.replace("46101", str(port)) for argument in arguments]
    environment = {**os.environ, "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, timeout=DEADLINE_S, check=False
    )
    return done.returncode == 0


def test_the_health_check_knows_an_agent_that_is_set_up_as_in_the_image(start_agent: StartAgent) -> None:
    """An agent with the image's environment is well, and prints its first token; one that is gone is not."""
    environment = dict(re.findall(r"(AGENTD_(?!STATE)\w+)=(\S+)", " ".join(_rest(RUN, "ENV"))))
    agent = start_agent(env=environment)
    port = int(agent.rest.rpartition(":")[2])
    assert _is_healthy(port)
    assert "first start: token agentd_" in agent.stdout
    agent.process.terminate()
    agent.process.wait(DEADLINE_S)
    assert not _is_healthy(port)


# --- its steps, done here ---------------------------------------------------------------------------------------


def _run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as the first stage does: from what is copied, and from nothing else."""
    source = tmp_path_factory.mktemp("source")
    for rest in _rest(BUILD, "COPY"):
        *names, _ = rest.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheels")
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    _run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", out, source, cwd=out)
    [made] = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel as the first stage does, with our dependencies at hand but not our checkout; gives the bin."""
    place = tmp_path_factory.mktemp("opt") / "agentd"
    _run(sys.executable, "-m", "venv", "--without-pip", place, cwd=wheel.parent)
    python = place / "bin" / "python"
    install = ("install", "--no-deps", "--no-index", "--disable-pip-version-check")
    _run(sys.executable, "-m", "pip", "--python", python, *install, wheel, cwd=wheel.parent)
    [site] = place.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


PYCOMPSS_PATH = "agentd-pycompss.pth"
"""Puts PyCOMPSs' names last on the module path of an environment."""


def test_the_wheel_holds_the_four_packages_and_nothing_of_ours_besides(wheel: Path) -> None:
    """Installed are the packages with their marks of being typed, the licence, a path; no tests, no examples."""
    names = ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {*PRODUCT, PYCOMPSS_PATH}
    assert {f"{package}/py.typed" for package in PRODUCT} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    sent = {path.relative_to(ROOT).as_posix() for top in PRODUCT for path in (ROOT / top).rglob("*.py")}
    assert sent <= set(names)


def test_programs_find_pycompss_where_agentd_is_installed(installed: Path, tmp_path: Path) -> None:
    """A plain program of that environment imports its names, ours last on the path, without PyCOMPSs itself."""
    said = _run(
        installed / "python", "-c", "import sys, pycompss.api.task as t; print(t.__file__, sys.path)", cwd=tmp_path
    )
    assert said.startswith(str(installed.parent))


def test_every_command_is_installed(installed: Path) -> None:
    """Each name of the project's list is a program in the image."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert [name for name in scripts if not os.access(installed / name, os.X_OK)] == []


def test_what_is_installed_runs_by_itself(installed: Path, tmp_path: Path) -> None:
    """The entry point answers from the wheel alone, not from a checkout that happens to be near."""
    where = _run(installed / "python", "-c", "import agentd, cli; print(agentd.__file__, cli.__file__)", cwd=tmp_path)
    assert all(path.startswith(str(installed.parent)) for path in where.split())
    [entry] = [json.loads(rest) for rest in _rest(RUN, "ENTRYPOINT")]
    assert "usage" in _run(installed / entry[0], *entry[1:], "--help", cwd=tmp_path).lower()
