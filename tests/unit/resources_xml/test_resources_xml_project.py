"""The project file: what it may hold, and how often."""

import pytest

from resources_xml import ApplicationPaths, Hardware, Package, read_project
from tests.unit.resources_xml.resources_xml_samples import (
    FULL_PROJECT,
    PLACES,
    adaptors,
    processor,
    project,
    refused,
    selected_node,
)

IMAGE = f'<Image Name="debian">{PLACES}</Image>'
IMAGES = f"<Images>{IMAGE}</Images>"
TYPES = '<InstanceTypes><InstanceType Name="small"/></InstanceTypes>'
PROVIDER = f'<CloudProvider Name="cumulus">{IMAGES}{TYPES}</CloudProvider>'
NODES = '<ClusterNode Name="thin"><NumberOfNodes>3</NumberOfNodes></ClusterNode>'
LIMIT = "<LimitOfTasks>5</LimitOfTasks>"


def read(inside):
    return read_project(project(inside))


def cloud(inside):
    return read(f"<Cloud>{inside}</Cloud>").cloud


def test_the_whole_format_is_read():
    """A file with everything in it is read, as text and as bytes, to the same value."""
    found = read_project(FULL_PROJECT)
    assert read_project(FULL_PROJECT.encode()) == found
    assert [p.kind for p in found.master_node.hardware.processors] == ["CPU", "GPU", "FPGA", "OTHER"]
    assert found.compute_nodes[0].installation.application == ApplicationPaths(
        app_dir="/apps",
        library_path="/apps/lib",
        classpath="/apps/a.jar",
        pythonpath="/apps/py",
        environment_script="/apps/env.sh",
        python_interpreter="/usr/bin/python3",
    )
    assert found.data_nodes[0].name == "vault"
    assert found.services[0].limit_of_tasks == 3
    assert found.http_services[0].limit_of_tasks == 4
    provider = found.cloud.providers[0]
    assert provider.limit_of_vms == 3
    assert [(one.name, one.value, one.context) for one in provider.properties] == [
        ("Password", "hush-hush", "file"),
        ("app-name", "", None),
    ]
    assert provider.images[0].packages == (
        Package(source="/apps/x.tgz", target="/opt/apps", software=frozenset({"TOOL"})),
        Package(source="/data", target="/data"),
    )
    assert found.clusters[0].nodes[0].number_of_nodes == 3


def test_the_smallest_project():
    """A project with an empty master node selects nothing and offers no processors."""
    found = read_project("<Project><MasterNode/></Project>")
    assert found.master_node.hardware == Hardware()
    assert (found.compute_nodes, found.cloud, found.clusters) == ((), None, ())


@pytest.mark.parametrize("text", ["<Project/>", f"<Project>{selected_node()}</Project>"])
def test_the_master_node_is_required(text):
    """A project without a master node is refused, and says what to add."""
    refused(read_project, text, element="Project", says=["exactly one <MasterNode>", "Add <MasterNode>"])


def test_the_master_node_stands_anywhere_but_once():
    """The place of the master node among the others makes no difference; a second one is refused."""
    text = f"<Project>{selected_node()}<MasterNode/></Project>"
    assert read_project(text) == read(selected_node())
    refused(read, "<MasterNode/>", element="MasterNode", says="exactly one <MasterNode>")


@pytest.mark.parametrize("root", ["project", "Projects", "ResourcesList", "ResourceList"])
def test_another_root_is_refused(root):
    """A file of another kind is told from a project by its root."""
    refused(read_project, f"<{root}/>", element=root, says=[f"a file of <{root}>", "<Project>"])


def test_an_unknown_entry_suggests_what_was_meant():
    """A name that is nearly right is told the right one."""
    refused(read, '<computenode Name="a"/>', element="computenode", says="Did you mean 'ComputeNode'")
    refused(read, '<CloudProvider Name="a"/>', element="CloudProvider", says="unknown element")
    refused(read, '<Zebra Name="a"/>', element="Zebra", says="Remove it")


@pytest.mark.parametrize("path", ["InstallDir", "WorkingDir"])
def test_a_compute_node_needs_both_folders(path):
    """Neither folder is guessed, nor left empty."""
    missing = PLACES.replace(f"<{path}>", "<!--").replace(f"</{path}>", "-->")
    refused(read, selected_node(inside=missing), element="ComputeNode", says=f"exactly one <{path}>")
    refused(read, selected_node(inside=f"{missing}<{path}/>"), element=path, says="not empty")


def test_a_compute_node_has_defaults():
    """A node that only says its folders has no user, paths, limit or adaptors of its own."""
    installation = read(selected_node()).compute_nodes[0].installation
    assert installation.user is None
    assert installation.application is None
    assert installation.limit_of_tasks is None
    assert installation.adaptors == ()


@pytest.mark.parametrize(
    ("more", "element"),
    [
        ("<LimitOfTasks>-1</LimitOfTasks>", "LimitOfTasks"),
        ("<LimitOfTasks>2.5</LimitOfTasks>", "LimitOfTasks"),
        (LIMIT * 2, "LimitOfTasks"),
        ("<User>a</User><User>b</User>", "User"),
        ("<Application/><Application/>", "Application"),
        ("<Application><PythonPath>/p</PythonPath></Application>", "PythonPath"),
        (adaptors() * 2, "Adaptors"),
        (processor(), "Processor"),
    ],
)
def test_what_a_selected_node_may_not_hold(more, element):
    """Optional children stand at most once, in range; hardware belongs to the other file."""
    refused(read, selected_node(inside=PLACES + more), element=element)


@pytest.mark.parametrize(
    ("entry", "element"),
    [
        (selected_node(), "ComputeNode"),
        ('<DataNode Name="d"/>', "DataNode"),
        ('<Service wsdl="w"/>', "Service"),
        ('<Http BaseUrl="u"/>', "Http"),
        (f'<ComputingCluster Name="c">{PLACES}{NODES}{LIMIT}</ComputingCluster>', "ComputingCluster"),
    ],
)
def test_entries_of_a_kind_have_different_names(entry, element):
    """Each kind may stand any number of times, under names that differ."""
    read(entry)
    refused(read, entry + entry, element=element, says=f"a second <{element}>")


@pytest.mark.parametrize(
    ("entry", "attribute"),
    [
        ("<DataNode/>", "Name"),
        ("<Service Wsdl='w'/>", "wsdl"),
        ("<Http baseUrl='u'/>", "BaseUrl"),
        ("<ComputeNode/>", "Name"),
    ],
)
def test_entries_have_their_attribute(entry, attribute):
    """The attribute that selects is required, in its exact case."""
    element = entry[1:].split("/")[0].split()[0]
    refused(read, entry, element=element, says=attribute)


def test_services_may_leave_out_their_limit():
    """No limit is None, and is told from zero."""
    found = read('<Http BaseUrl="u"/><Service wsdl="w"><LimitOfTasks>0</LimitOfTasks></Service>')
    assert found.http_services[0].limit_of_tasks is None
    assert found.services[0].limit_of_tasks == 0


def test_a_cloud_has_limits_and_providers():
    """The limits are kept as written; there is a provider at least, and one cloud section at most."""
    found = cloud(f"<MaximumVMs>4</MaximumVMs>{PROVIDER}<MinimumVMs>1</MinimumVMs><InitialVMs>9</InitialVMs>")
    assert (found.initial_vms, found.minimum_vms, found.maximum_vms) == (9, 1, 4)
    assert cloud(PROVIDER).maximum_vms is None
    refused(cloud, "", element="Cloud", says="at least one <CloudProvider>")
    refused(read, f"<Cloud>{PROVIDER}</Cloud>" * 2, element="Cloud", says="at most one <Cloud>")


@pytest.mark.parametrize(
    ("limits", "element"),
    [
        ("<MinimumVMs>3</MinimumVMs><MaximumVMs>2</MaximumVMs>", "Cloud"),
        ("<InitialVMs>-1</InitialVMs>", "InitialVMs"),
        ("<MinimumVMs>-1</MinimumVMs>", "MinimumVMs"),
        ("<MaximumVMs>x</MaximumVMs>", "MaximumVMs"),
        ("<minVMCount>1</minVMCount>", "minVMCount"),
    ],
)
def test_other_limits_of_machines_are_refused(limits, element):
    """Numbers of machines are not negative, and the minimum is not above the maximum."""
    refused(cloud, PROVIDER + limits, element=element)


@pytest.mark.parametrize(
    ("inside", "element"),
    [
        (TYPES, "CloudProvider"),
        (IMAGES, "CloudProvider"),
        (IMAGES * 2 + TYPES, "Images"),
        ("<Images/>" + TYPES, "Images"),
        (IMAGES + "<InstanceTypes/>", "InstanceTypes"),
        (f"<Images>{IMAGE}{IMAGE}</Images>{TYPES}", "Image"),
        (IMAGES + TYPES.replace("<InstanceTypes>", '<InstanceTypes><InstanceType Name="small"/>'), "InstanceType"),
        (IMAGES + '<InstanceTypes><InstanceType Name="s"><Memory/></InstanceType></InstanceTypes>', "Memory"),
        (IMAGES + TYPES + "<LimitOfVMs>-1</LimitOfVMs>", "LimitOfVMs"),
        (IMAGES + TYPES + "<Properties><Property><Name>a</Name></Property></Properties>", "Property"),
        (IMAGES.replace("</Image>", "<Package><Source>/s</Source></Package></Image>") + TYPES, "Package"),
        (IMAGES.replace("<InstallDir>/opt/x</InstallDir>", "") + TYPES, "Image"),
    ],
)
def test_other_providers_are_refused(inside, element):
    """A provider selects images and instance types, each named once and said enough about."""
    refused(cloud, f'<CloudProvider Name="cumulus">{inside}</CloudProvider>', element=element)


@pytest.mark.parametrize(
    ("inside", "element"),
    [
        (PLACES + NODES, "ComputingCluster"),
        (PLACES + LIMIT, "ComputingCluster"),
        (NODES + LIMIT, "ComputingCluster"),
        (PLACES + LIMIT + NODES + NODES, "ClusterNode"),
        (PLACES + LIMIT + NODES.replace("3", "0"), "NumberOfNodes"),
        (PLACES + LIMIT + '<ClusterNode Name="thin"/>', "ClusterNode"),
        (PLACES + LIMIT + NODES + "<Software/>", "Software"),
    ],
)
def test_other_clusters_are_refused(inside, element):
    """A cluster has folders, a limit, and at least one kind of nodes with a number."""
    refused(read, f'<ComputingCluster Name="hive">{inside}</ComputingCluster>', element=element)


def test_the_name_of_the_file_is_in_the_message():
    """Whoever reads several files learns which one is wrong, and where."""
    error = refused(read_project, "<Project>\n  <Master/></Project>", source="/etc/p.xml", element="Master")
    assert (error.source, error.line, error.column) == ("/etc/p.xml", 2, 3)
    assert str(error).startswith("/etc/p.xml:2:3: <Project/Master>: ")
