"""Short ways to write the two files in a test."""

from pathlib import Path

import pytest

from resources_xml import COMM_AGENT_ADAPTOR, Nodes, ResourcesXmlError, nodes, read_project, read_resources

HERE = Path(__file__).parent
FULL_PROJECT = (HERE / "full_project.xml").read_text(encoding="utf-8")
FULL_RESOURCES = (HERE / "full_resources.xml").read_text(encoding="utf-8")

PLACES = "<InstallDir>/opt/x</InstallDir><WorkingDir>/tmp/x</WorkingDir>"
INTERACTIVE = "<SubmissionSystem><Interactive/></SubmissionSystem>"
PORT = "<Properties><Property><Name>Port</Name><Value>46102</Value></Property></Properties>"


def processor(name="cpu", units=4, more=""):
    return f'<Processor Name="{name}"><ComputingUnits>{units}</ComputingUnits>{more}</Processor>'


def adaptor(inside=INTERACTIVE + PORT, name=COMM_AGENT_ADAPTOR):
    return f'<Adaptor Name="{name}">{inside}</Adaptor>'


def adaptors(*inside):
    return f"<Adaptors>{''.join(inside) or adaptor()}</Adaptors>"


def project(inside="", master="<MasterNode/>"):
    return f"<Project>{master}{inside}</Project>"


def resources(inside=""):
    return f"<ResourcesList>{inside}</ResourcesList>"


def selected_node(name="beta", inside=PLACES):
    return f'<ComputeNode Name="{name}">{inside}</ComputeNode>'


def offered_node(name="beta", inside=None, more=""):
    return f'<ComputeNode Name="{name}">{processor() + adaptors() if inside is None else inside}{more}</ComputeNode>'


def own(inside):
    """Read a master node's inside, and give its hardware."""
    return read_project(project(master=f"<MasterNode>{inside}</MasterNode>")).master_node.hardware


def offered(inside):
    """Read a compute node's inside out of a resources file."""
    return read_resources(resources(offered_node(inside=inside))).compute_nodes[0]


def combined(selected="", existing="", master="<MasterNode/>", **options) -> Nodes:
    return nodes(read_project(project(selected, master)), read_resources(resources(existing)), **options)


def refused(call, *arguments, element, says=(), **options) -> ResourcesXmlError:
    """Expect the error at an element, with these words in its message."""
    with pytest.raises(ResourcesXmlError) as caught:
        call(*arguments, **options)
    error = caught.value
    assert error.element == element, error
    assert error.line >= 1
    assert error.column >= 1
    assert error.expected
    for words in [says] if isinstance(says, str) else says:
        assert words in str(error), error
    return error
