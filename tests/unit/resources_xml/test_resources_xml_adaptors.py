"""Adaptors: the forms of their settings, and the ways of submission."""

import pytest

from resources_xml import Batch, BatchProperties, Ports, Property, Submission, read_project
from tests.unit.resources_xml.resources_xml_samples import (
    INTERACTIVE,
    PLACES,
    PORT,
    adaptor,
    adaptors,
    offered,
    processor,
    project,
    refused,
)

PORTS = "<Ports><MinPort>43001</MinPort><MaxPort>43002</MaxPort></Ports>"
BROKER = "<BrokerAdaptor>sshtrilead</BrokerAdaptor>"


def in_resources(inside):
    """Read one adaptor of a compute node in a resources file."""
    return offered(processor() + adaptors(adaptor(inside))).adaptors[0]


def in_project(inside):
    """Read one adaptor of a compute node in a project file."""
    node = f'<ComputeNode Name="beta">{PLACES}{adaptors(adaptor(inside))}</ComputeNode>'
    return read_project(project(node)).compute_nodes[0].installation.adaptors[0]


BOTH = pytest.mark.parametrize("read", [in_resources, in_project])


@BOTH
def test_properties_are_the_form_for_agents(read):
    """Properties are kept in order, with empty values, and none at all is still this form."""
    two = "<Property><Name>Port</Name><Value>1</Value></Property><Property><Value/><Name>x</Name></Property>"
    found = read(f"{INTERACTIVE}<Properties>{two}</Properties>")
    assert found.properties == (Property(name="Port", value="1"), Property(name="x", value=""))
    assert read(f"{INTERACTIVE}<Properties/>").properties == ()


@BOTH
def test_ports_are_a_form(read):
    """A range of ports is read, whichever end comes first."""
    found = read(f"<Ports><MaxPort>43002</MaxPort><MinPort>43001</MinPort></Ports>{INTERACTIVE}")
    assert found.ports == Ports(min_port=43001, max_port=43002)
    assert found.properties is None


@BOTH
def test_a_broker_is_a_form(read):
    """The broker is kept by its name."""
    assert read(f"{INTERACTIVE}{BROKER}").broker == "sshtrilead"


@BOTH
@pytest.mark.parametrize("form", ["", PORTS, BROKER, PORT])
def test_a_user_stands_alone_or_beside_any_form(read, form):
    """The user's name is a form of its own, and disturbs no other."""
    assert read(f"{INTERACTIVE}{form}<User>ada</User>").user == "ada"


@BOTH
@pytest.mark.parametrize("forms", [PORTS + BROKER, PORTS + PORT, BROKER + PORT, PORTS + BROKER + PORT])
def test_two_forms_are_refused(read, forms):
    """Nobody would know which of two settings counts."""
    refused(read, INTERACTIVE + forms, element="Adaptor", says="exactly one of")


@BOTH
@pytest.mark.parametrize("form", ["", "<User/>"])
def test_no_form_is_refused(read, form):
    """An adaptor without any settings is an omission."""
    refused(read, INTERACTIVE + form, element="Adaptor", says=["no settings", "exactly one of"])


@BOTH
@pytest.mark.parametrize("form", [PORTS, BROKER, PORT])
def test_the_same_form_twice_is_refused(read, form):
    """Each form stands at most once."""
    refused(read, INTERACTIVE + form + form, element=form[1 : form.index(">")], says="at most one")


@BOTH
@pytest.mark.parametrize(
    ("low", "high", "element"),
    [("2", "2", "Ports"), ("3", "2", "Ports"), ("0", "2", "MinPort"), ("1", "65536", "MaxPort"), ("x", "2", "MinPort")],
)
def test_a_range_of_ports_is_a_range(read, low, high, element):
    """Ports exist, and the upper end lies above the lower."""
    xml = f"<Ports><MinPort>{low}</MinPort><MaxPort>{high}</MaxPort></Ports>"
    refused(read, INTERACTIVE + xml, element=element)


def test_launching_is_said_in_resources_only():
    """How a worker is launched belongs to the resource, not to the project."""
    more = "<SpawnerPort>22</SpawnerPort><RemoteExecutionCommand>ssh</RemoteExecutionCommand></Ports>"
    xml = INTERACTIVE + PORTS.replace("</Ports>", more)
    assert in_resources(xml).ports == Ports(
        min_port=43001, max_port=43002, spawner_port=22, remote_execution_command="ssh"
    )
    refused(in_project, xml, element="SpawnerPort", says="unknown element <SpawnerPort> in <Ports>")


def test_keys_are_said_in_projects_only():
    """Paths of keys lie on the device that reads the project, beside any form or alone."""
    keys = "<KnownHostsPath>/k</KnownHostsPath><IdentityPath>/a</IdentityPath><IdentityPath>/b</IdentityPath>"
    found = in_project(INTERACTIVE + keys)
    assert (found.known_hosts_path, found.identity_paths) == ("/k", ("/a", "/b"))
    assert in_project(INTERACTIVE + keys + BROKER).broker == "sshtrilead"
    refused(in_resources, INTERACTIVE + keys, element="KnownHostsPath", says="unknown element")


@BOTH
def test_submission_is_interactive_through_queues_or_both(read):
    """Each way that is written is known, in any order."""
    batch = "<Batch><Queue>a</Queue><Queue>b</Queue></Batch>"
    assert read(INTERACTIVE + PORT).submission == Submission(interactive=True)
    found = read(f"<SubmissionSystem>{batch}</SubmissionSystem>{PORT}")
    assert found.submission == Submission(batch=Batch(queues=("a", "b")))
    found = read(f"<SubmissionSystem>{batch}<Interactive/></SubmissionSystem>{PORT}")
    assert found.submission == Submission(interactive=True, batch=Batch(queues=("a", "b")))
    assert found.queues == ("a", "b")


@BOTH
@pytest.mark.parametrize(
    ("xml", "element"),
    [
        ("", "Adaptor"),
        ("<SubmissionSystem/>", "SubmissionSystem"),
        (INTERACTIVE * 2, "SubmissionSystem"),
        ("<SubmissionSystem><Interactive/><Interactive/></SubmissionSystem>", "Interactive"),
        ("<SubmissionSystem><Interactive>yes</Interactive></SubmissionSystem>", "Interactive"),
        ("<SubmissionSystem><Interactive><x/></Interactive></SubmissionSystem>", "x"),
        ("<SubmissionSystem><Batch><Queue/></Batch></SubmissionSystem>", "Queue"),
        ("<SubmissionSystem><batch/></SubmissionSystem>", "batch"),
    ],
)
def test_other_submissions_are_refused(read, xml, element):
    """There is exactly one submission system, which says at least one way."""
    refused(read, xml + PORT, element=element)


def test_queues_may_be_left_out_in_a_project_only():
    """In a project, no queue means all; a resource names what it has."""
    xml = f"<SubmissionSystem><Batch/></SubmissionSystem>{PORT}"
    assert in_project(xml).submission == Submission(batch=Batch())
    refused(in_resources, xml, element="Batch", says="at least one <Queue>")


def test_batch_properties_stand_in_projects_only():
    """All five are read, each may be left out, and a resource has none."""
    inside = (
        "<FileCFG>q.cfg</FileCFG><QOS>debug</QOS><Reservation>mine</Reservation>"
        "<MaxExecTime>3000000000</MaxExecTime><Port>22</Port>"
    )
    xml = (
        "<SubmissionSystem><Batch><Queue>a</Queue><BatchProperties>{}</BatchProperties></Batch></SubmissionSystem>"
        + BROKER
    )
    assert in_project(xml.format(inside)).submission.batch.properties == BatchProperties(
        port=22, max_exec_time=3_000_000_000, reservation="mine", qos="debug", file_cfg="q.cfg"
    )
    assert in_project(xml.format("")).submission.batch.properties == BatchProperties()
    refused(in_project, xml.format("<MaxExecTime>-1</MaxExecTime>"), element="MaxExecTime")
    refused(in_resources, xml.format(inside), element="BatchProperties", says="unknown element")


@BOTH
@pytest.mark.parametrize(
    ("inside", "element"),
    [
        ("<Property><Name>a</Name></Property>", "Property"),
        ("<Property><Value>a</Value></Property>", "Property"),
        ("<Property><Name/><Value>a</Value></Property>", "Name"),
        ("<Property><Name>a</Name><Value>1</Value></Property>" * 2, "Property"),
        ("<Property Context='c'><Name>a</Name><Value>1</Value></Property>", "Property"),
        ("<property/>", "property"),
    ],
)
def test_other_properties_are_refused(read, inside, element):
    """A property has a name of its own and a value, nothing else."""
    refused(read, f"{INTERACTIVE}<Properties>{inside}</Properties>", element=element)


def test_adaptors_of_one_resource_have_different_names():
    """A list of adaptors is not empty and names each once."""
    refused(offered, processor() + adaptors(adaptor(), adaptor()), element="Adaptor", says="a second <Adaptor>")
    refused(offered, processor() + "<Adaptors></Adaptors>", element="Adaptors", says="at least one <Adaptor>")


def test_the_value_of_a_property_is_never_shown():
    """A value may be a secret, so it is in no representation."""
    xml = f"{INTERACTIVE}<Properties><Property><Name>Password</Name><Value>hush</Value></Property></Properties>"
    assert "hush" not in repr(in_project(xml))
