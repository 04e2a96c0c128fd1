"""What both files mean together."""

import pytest

from resources_xml import (
    COMM_AGENT_ADAPTOR,
    AdaptorSpec,
    ApplicationPaths,
    BatchProperties,
    Hardware,
    HttpSpec,
    NodeSpec,
    Ports,
    nodes,
    read_project,
    read_resources,
)
from tests.unit.resources_xml.resources_xml_samples import (
    FULL_PROJECT,
    FULL_RESOURCES,
    INTERACTIVE,
    PLACES,
    PORT,
    adaptor,
    adaptors,
    combined,
    offered_node,
    processor,
    refused,
    selected_node,
)

DISKS = '<SharedDisks><AttachedDisk Name="lake"><MountPoint>/m</MountPoint></AttachedDisk></SharedDisks>'
GOS = "es.bsc.compss.gos.master.GOSAdaptor"
NIO = "es.bsc.compss.nio.master.NIOAdaptor"


@pytest.fixture(scope="module")
def everything():
    """Both full files, combined for agents."""
    return nodes(read_project(FULL_PROJECT), read_resources(FULL_RESOURCES))


def batch(*queues, inside=""):
    listed = "".join(f"<Queue>{queue}</Queue>" for queue in queues)
    return f"<SubmissionSystem><Batch>{listed}{inside}</Batch></SubmissionSystem>"


def reached(selected, existing, **options):
    """Combine one node whose adaptors are given by both files."""
    chosen = selected_node(inside=PLACES + (adaptors(selected) if selected else ""))
    offered = offered_node(inside=processor() + adaptors(existing))
    return combined(chosen, offered, **options)


def texts(notes):
    return [str(note) for note in notes]


def test_the_own_device_is_what_the_master_node_declares():
    """Processors of the master node give the own device its room for tasks."""
    own = combined(master=f"<MasterNode>{processor('a', 4)}{processor('b', 2)}</MasterNode>").own
    assert own.hardware.units() == 6
    assert own.concurrent_tasks == 6
    assert own.adaptor is None
    assert own.queues == ()


def test_a_master_node_without_processors_leaves_the_own_device_empty():
    """An agent that lends no cores is not an error; that nothing can run is a warning."""
    found = combined()
    assert found.own == NodeSpec(name="MasterNode", hardware=Hardware())
    assert not found.is_usable
    assert "gives neither an own CPU nor a usable resource" in str(found.warnings[0])


@pytest.mark.parametrize("before", [True, False])
def test_an_empty_master_node_makes_nodes_no_less_usable(before):
    """Where the empty master node stands makes no difference to what is usable."""
    parts = ["<MasterNode/>", selected_node()]
    text = f"<Project>{''.join(parts if before else parts[::-1])}</Project>"
    found = nodes(read_project(text), read_resources(f"<ResourcesList>{offered_node()}</ResourcesList>"))
    assert found.is_usable
    assert found.warnings == ()


def test_hardware_is_the_resources_and_places_are_the_projects(everything):
    """Each field of a node comes from the file that owns it."""
    node = everything.compute_nodes[0]
    assert node.name == "beta"
    assert [one.kind for one in node.hardware.processors] == ["CPU", "GPU"]
    assert node.hardware.memory_mib == 16 * 1024
    assert node.hardware.storage.bandwidth == 50
    assert node.hardware.operating_system.type == "FreeBSD"
    assert node.hardware.software == {"PYTHON"}
    assert node.hardware.shared_disks[0].mount_point == "/mnt/lake"
    assert (node.install_dir, node.working_dir, node.user) == ("/opt/x", "/tmp/x", "ada")
    assert node.application.python_interpreter == "/usr/bin/python3"
    assert (node.limit_of_tasks, node.concurrent_tasks) == (2, 2)


@pytest.mark.parametrize(("limit", "concurrent"), [(None, 4), (2, 2), (4, 4), (9, 4), (0, 0)])
def test_concurrent_tasks_are_the_least_of_limit_and_units(limit, concurrent):
    """No limit is no limit; zero is one."""
    inside = PLACES + ("" if limit is None else f"<LimitOfTasks>{limit}</LimitOfTasks>")
    found = combined(selected_node(inside=inside), offered_node())
    assert found.compute_nodes[0].concurrent_tasks == concurrent
    assert any("no task is given to it" in text for text in texts(found.warnings)) == (concurrent == 0)


def test_a_node_without_cpu_units_takes_no_tasks():
    """Every task needs a CPU unit, so a node of GPUs alone is warned of."""
    inside = processor(more="<Type>GPU</Type>") + adaptors()
    found = combined(selected_node(), offered_node(inside=inside))
    assert found.compute_nodes[0].concurrent_tasks == 0
    assert "has no CPU units" in str(found.warnings[0])


def test_what_is_not_in_resources_is_skipped_with_a_warning():
    """Each kind of entry that has no counterpart is left out, and said with its place."""
    places = f"{PLACES}<LimitOfTasks>1</LimitOfTasks>"
    count = '<ClusterNode Name="n"><NumberOfNodes>1</NumberOfNodes></ClusterNode>'
    images = f'<Images><Image Name="i">{PLACES}</Image></Images>'
    types = '<InstanceTypes><InstanceType Name="t"/></InstanceTypes>'
    found = combined(
        f'{selected_node("Beta")}<DataNode Name="d"/><Service wsdl="w"/><Http BaseUrl="u"/>'
        f'<ComputingCluster Name="c">{places}{count}</ComputingCluster>'
        f'<Cloud><CloudProvider Name="p">{images}{types}</CloudProvider></Cloud>',
        offered_node("beta"),
    )
    skipped = [note.entry for note in found.warnings if "skipped" in note.text]
    assert skipped == [
        "ComputeNode 'Beta'",
        "Http 'u'",
        "Service 'w'",
        "CloudProvider 'p'",
        "ComputingCluster 'c'",
        "DataNode 'd'",
    ]
    assert found.warnings[0].at.line == 1
    assert found.notes == ()
    assert not found.is_usable


def test_what_is_not_selected_is_unused():
    """A resource that the project does not name is not there, and is not worth a word."""
    found = combined(selected_node("b"), offered_node("a") + offered_node("b"))
    assert [node.name for node in found.compute_nodes] == ["b"]
    assert found.warnings == ()


def test_http_services_have_an_effect(everything):
    """An HTTP service is paired by its base URL, and is not among the notes."""
    url = "http://svc.example:8080/"
    assert everything.http_services == (HttpSpec(base_url=url, services=("one", "two"), limit_of_tasks=4),)
    assert not any("Http" in text for text in texts(everything.notes))


def test_properties_are_the_resources_overridden_by_the_projects(everything):
    """A property of the project counts, the others of the resource stay."""
    assert everything.compute_nodes[0].adaptor == AdaptorSpec(
        name=COMM_AGENT_ADAPTOR, properties={"Port": "46202", "Zone": "roof"}
    )


def test_a_node_may_be_reached_by_another_adaptor():
    """Only the adaptor that is asked for is combined: its queues narrowed, its broker overridden."""
    found = nodes(read_project(FULL_PROJECT), read_resources(FULL_RESOURCES), adaptor=GOS)
    node = found.compute_nodes[0]
    assert node.adaptor == AdaptorSpec(
        name=GOS,
        interactive=False,
        queues=("short",),
        batch=BatchProperties(port=22, max_exec_time=30, reservation="mine", qos="debug", file_cfg="queue.cfg"),
        broker="slurm",
        user="ada",
        known_hosts_path="/home/ada/.ssh/known_hosts",
        identity_paths=("/home/ada/.ssh/a", "/home/ada/.ssh/b"),
    )
    assert node.queues == ("short",)


def test_ports_are_narrowed_and_launching_stays():
    """The project's range counts; what only resources say about launching is kept."""
    found = nodes(read_project(FULL_PROJECT), read_resources(FULL_RESOURCES), adaptor=NIO)
    assert found.compute_nodes[0].adaptor.ports == Ports(
        min_port=43001, max_port=43010, spawner_port=22, remote_execution_command="ssh"
    )


def test_an_adaptor_may_be_said_by_either_file():
    """What one file leaves out is taken from the other."""
    other = adaptor(name="other")
    for found in (reached("", adaptor()), reached(adaptor(), other), reached(other, adaptor())):
        assert found.compute_nodes[0].adaptor == AdaptorSpec(name=COMM_AGENT_ADAPTOR, properties={"Port": "46102"})


def test_a_node_without_the_adaptor_is_kept_unreached():
    """A node that cannot be reached is described, marked and warned of, with the names that it has."""
    found = reached("", adaptor(name="other.Adaptor"))
    assert found.compute_nodes[0].adaptor is None
    assert found.compute_nodes[0].queues == ()
    assert f"has no adaptor '{COMM_AGENT_ADAPTOR}', but 'other.Adaptor'" in str(found.warnings[0])


@pytest.mark.parametrize(
    ("selected", "queues"),
    [
        ("", ("a", "b")),
        (batch(), ("a", "b")),
        (batch("b"), ("b",)),
        (batch("b", "a"), ("b", "a")),
        (INTERACTIVE, ("a", "b")),
    ],
)
def test_queues_are_narrowed_by_the_project(selected, queues):
    """A project takes some of a resource's queues, or by naming none takes all."""
    found = reached(selected and adaptor(selected + PORT), adaptor(batch("a", "b") + PORT))
    assert found.compute_nodes[0].queues == queues


@pytest.mark.parametrize("existing", [batch("a", "b"), INTERACTIVE])
def test_a_queue_that_the_resource_has_not_is_refused(existing):
    """A project cannot invent a queue, not even for an adaptor that is not used."""
    for name in (COMM_AGENT_ADAPTOR, "other"):
        refused(
            reached,
            adaptor(batch("A") + PORT, name),
            adaptor(existing + PORT, name),
            element="Queue",
            says=["'A'", "which has"],
        )


def test_of_many_queues_a_few_are_shown():
    """A message stays short, however much the file lists."""
    existing = adaptor(batch(*(f"q{index}" for index in range(50))) + PORT)
    error = refused(reached, adaptor(batch("x") + PORT), existing, element="Queue", says="'q7', …")
    assert "q8" not in str(error)


def test_submission_is_what_both_files_allow():
    """Interactive work needs the word of both files."""
    both = "<SubmissionSystem><Batch><Queue>a</Queue></Batch><Interactive/></SubmissionSystem>"
    for selected, existing, interactive in [(both, both, True), (batch(), both, False), (both, batch("a"), False)]:
        found = reached(adaptor(selected + PORT), adaptor(existing + PORT))
        assert found.compute_nodes[0].adaptor.interactive is interactive


def test_own_disks_are_declared_in_resources():
    """A disk of the own device is checked against the other file, with the place in this one."""
    master = f"<MasterNode>{DISKS}</MasterNode>"
    assert combined(existing='<SharedDisk Name="lake"/>', master=master).own.hardware.shared_disks
    error = refused(combined, master=master, element="AttachedDisk", says="'lake'")
    assert error.source == "project.xml"


def test_a_soap_service_is_complete_and_noted(everything):
    """A SOAP service has the fields of both files."""
    (service,) = everything.services
    assert (service.name, service.namespace, service.port) == ("Soapy", "http://soap.example/", "SoapyPort")
    assert (service.limit_of_tasks, service.price.per_unit) == (3, 0.25)


def test_a_data_node_is_complete(everything):
    """A data node has the fields of the resource and a merged adaptor."""
    (node,) = everything.data_nodes
    assert (node.host, node.path, node.storage.type) == ("vault.example", "/data", "tape")
    assert node.shared_disks[0].name == "pond"
    assert node.adaptor.properties == {"Port": "46102"}


def test_a_cluster_is_complete(everything):
    """A cluster has its kinds of nodes in the number that exists, and the software of both files."""
    (cluster,) = everything.clusters
    assert [(kind.name, kind.number_of_nodes, kind.hardware.units()) for kind in cluster.nodes] == [("thin", 2, 16)]
    assert (cluster.limit_of_tasks, cluster.concurrent_tasks) == (100, 32)
    assert cluster.software == {"MPI", "GCC"}
    assert cluster.operating_system.type == "SunOS"
    assert cluster.shared_disks[0].mount_point == "/lake"
    assert cluster.adaptor.queues == ("short",)
    assert cluster.application == ApplicationPaths(pythonpath="/py")
    assert "NumberOfNodes 3 is set to 2" in " ".join(texts(everything.warnings))


def test_every_thing_without_effect_is_noted_once(everything):
    """Whoever wrote the files learns which words of them change nothing in an agent."""
    entries = [note.entry for note in everything.notes]
    assert len(entries) == len(set(entries))
    assert sorted(entries) == sorted(
        [
            "MasterNode",
            "ComputeNode 'beta'",
            "ComputeNode 'beta', other adaptors",
            "Service 'http://soap.example/s?wsdl'",
            "CloudProvider 'cumulus'",
            "ComputingCluster 'hive'",
            "DataNode 'vault'",
        ]
    )
    words = " ".join(texts(everything.notes))
    for thing in ("User, Application, SharedDisks, Price", "connector 'es.bsc.conn.Some'", "my.own.Adaptor"):
        assert thing in words
    assert "hush" not in repr(everything)


def test_settings_that_agents_do_not_read_are_noted():
    """A broker, queues or ports of the adaptor in use are kept and have no effect."""
    broker = reached("", adaptor(batch("a") + "<BrokerAdaptor>slurm</BrokerAdaptor>", GOS), adaptor=GOS)
    assert [note.text for note in broker.notes] == ["Queue, BrokerAdaptor: kept, without effect in an agent"]
    ports = "<Ports><MinPort>1</MinPort><MaxPort>2</MaxPort></Ports><User>ada</User>"
    agent = reached("", adaptor(INTERACTIVE + ports))
    assert [note.text for note in agent.notes] == ["Ports, User: kept, without effect in an agent"]
    assert reached("", adaptor(INTERACTIVE + ports, NIO), adaptor=NIO).notes == ()


def test_a_plain_static_neighbour_is_worth_no_word():
    """The normal files of an agent give neither notes nor warnings."""
    found = combined(selected_node(), offered_node(), master=f"<MasterNode>{processor()}</MasterNode>")
    assert (found.notes, found.warnings) == ((), ())
