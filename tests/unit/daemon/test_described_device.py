"""What project.xml and resources.xml make of a device and its neighbours, beside the operator's flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.daemon import capacity
from agentd.daemon.neighbours import links as neighbours
from agentd.daemon.settings import Settings
from agentd.model.errors import ConfigError
from schedulers.capacity import Capacity, Kind, Processor

COMM = "es.bsc.compss.agent.comm.CommAgentAdaptor"
NIO = "es.bsc.compss.nio.master.NIOAdaptor"
MASTER = (
    "<MasterNode><Processor Name='P'><ComputingUnits>3</ComputingUnits><Architecture>arm</Architecture></Processor>"
    "<Processor Name='G'><ComputingUnits>1</ComputingUnits><Type>GPU</Type></Processor>"
    "<Memory><Size>2</Size></Memory><Software><Application>numpy</Application></Software></MasterNode>"
)
NODE = (
    "<ComputeNode Name='beta'><InstallDir>/i</InstallDir><WorkingDir>/w</WorkingDir>"
    "<LimitOfTasks>2</LimitOfTasks></ComputeNode>"
)


def settings(**more: object) -> Settings:
    return Settings(hostname="own", state=Path("/nowhere"), **more)  # type: ignore[arg-type]


def files(folder: Path, project: str = MASTER, resources: str = "") -> dict[str, Path]:
    (folder / "project.xml").write_text(f"<Project>{project}</Project>")
    (folder / "resources.xml").write_text(f"<ResourcesList>{resources}</ResourcesList>")
    return {"project": folder / "project.xml", "resources": folder / "resources.xml"}


def offered(adaptor: str = COMM, properties: str = "", inner: str = "") -> str:
    inner = inner or f"<Properties>{properties}</Properties>"
    return (
        "<ComputeNode Name='beta'><Processor Name='P'><ComputingUnits>4</ComputingUnits></Processor>"
        f"<Adaptors><Adaptor Name='{adaptor}'><SubmissionSystem><Interactive/></SubmissionSystem>{inner}</Adaptor>"
        "</Adaptors><Memory><Size>1</Size></Memory></ComputeNode>"
    )


PORT = "<Property><Name>Port</Name><Value>5000</Value></Property>"


def test_the_master_node_is_what_the_device_has(tmp_path: Path) -> None:
    """All of it; nothing is added to it."""
    given = settings(**files(tmp_path))
    assert capacity.own_capacity(given, capacity.read_files(given)) == Capacity(
        processors=(
            Processor(units=3, name="P", architecture="arm"),
            Processor(units=1, kind=Kind.GPU, name="G"),
        ),
        memory_mib=2048,
        software=frozenset({"NUMPY"}),
    )


def test_flags_change_of_it_what_they_name(tmp_path: Path) -> None:
    """The rest of the file goes on to hold."""
    given = settings(**files(tmp_path), cpu=7, gpu=0, memory_mib=100)
    found = capacity.own_capacity(given, capacity.read_files(given))
    assert found.processors == (Processor(units=7, name="P", architecture="arm"),)
    assert (found.memory_mib, found.software) == (100, frozenset({"NUMPY"}))


def test_without_a_word_it_is_what_the_machine_has(tmp_path: Path) -> None:
    """Also with a MasterNode that says nothing."""
    for given in (settings(), settings(**files(tmp_path, "<MasterNode/>"))):
        found = capacity.own_capacity(given, capacity.read_files(given))
        assert found.units() == capacity.machine_cores()
        assert found.memory_mib == capacity.machine_memory_mib()
        assert capacity.beyond_hardware(found) == []
    none = capacity.own_capacity(settings(cpu=0), None)
    assert none.processors == ()


def test_a_claim_beyond_the_hardware_is_told() -> None:
    """Cores and memory, each with both figures."""
    many = Capacity(processors=(Processor(units=100_000),), memory_mib=1 << 40)
    cores, memory = capacity.beyond_hardware(many)
    assert cores.startswith(f"100000 CPU units are more than the {capacity.machine_cores()} cores")
    assert memory.startswith(f"{1 << 40} MiB of memory are more than the {capacity.machine_memory_mib()}")


def test_a_compute_node_is_a_neighbour(tmp_path: Path) -> None:
    """With its hardware, its adaptor's properties and its limit of tasks."""
    given = settings(**files(tmp_path, MASTER + NODE, offered(properties=PORT)))
    (event,) = neighbours.described(capacity.read_files(given))
    assert (event.name, event.adaptor, event.properties) == ("beta", "comm", (("Port", "5000"),))
    assert (event.capacity.units(), event.capacity.memory_mib) == (4, 1024)
    assert (event.declared, event.limit_of_tasks) == (True, 2)


@pytest.mark.parametrize(
    ("resources", "why"),
    [
        (
            offered(NIO, inner="<Ports><MinPort>1</MinPort><MaxPort>2</MaxPort></Ports>"),
            r"project.xml:1:.*ComputeNode 'beta'.*NIOAdaptor.*start one there.*NIO and GAT are not supported",
        ),
        (offered(properties=PORT.replace("5000", "x")), "ComputeNode 'beta': Port=x is no TCP port"),
        (offered(properties=PORT.replace("Port", "Prot")), "ComputeNode 'beta': .*'Prot'"),
    ],
)
def test_a_node_that_cannot_be_reached_stops_the_start(tmp_path: Path, resources: str, why: str) -> None:
    """With file and line, and what is supported."""
    given = settings(**files(tmp_path, MASTER + NODE, resources))
    with pytest.raises(ConfigError, match=why):
        neighbours.described(capacity.read_files(given))


@pytest.mark.parametrize("name", [NIO, "es.bsc.compss.gat.master.GATAdaptor", "es.bsc.compss.gos.master.GOSAdaptor"])
def test_an_adaptor_that_is_not_supported_is_refused_at_the_start(name: str) -> None:
    """Also without any file, saying what there is."""
    with pytest.raises(ConfigError, match=f"--comm: adaptor {name} is not supported here: .*{COMM}"):
        capacity.read_files(settings(comm=name))
    with pytest.raises(ConfigError, match="--comm: unknown adaptor"):
        capacity.read_files(settings(comm="pigeon"))
    for known in ("comm", COMM, ""):
        assert capacity.read_files(settings(comm=known)) is None


def test_what_has_no_effect_is_told_once_by_name(tmp_path: Path) -> None:
    """Skipped entries, kept ones, and services that nobody calls."""
    service = "<Http BaseUrl='http://svc/'/>"
    project = MASTER + NODE.replace("beta", "gamma") + "<Http BaseUrl='http://svc/'/>"
    given = settings(**files(tmp_path, project, offered() + service))
    said = neighbours.remarks(capacity.read_files(given))
    assert len([words for words in said if "'gamma'" in words]) == 1
    assert len([words for words in said if "http://svc/" in words]) == 1
    assert neighbours.remarks(None) == []
