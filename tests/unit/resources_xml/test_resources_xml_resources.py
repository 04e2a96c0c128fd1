"""The resources file: what it may hold, and how often."""

import pytest

from resources_xml import Endpoint, Resources, Storage
from tests.unit.resources_xml.resources_xml_samples import (
    FULL_RESOURCES,
    adaptors,
    offered_node,
    processor,
    read_resources,
    refused,
    resources,
)

ENDPOINT = (
    "<Endpoint><Server>https://c</Server><ConnectorJar>c.jar</ConnectorJar>"
    "<ConnectorClass>c.C</ConnectorClass></Endpoint>"
)
IMAGES = f'<Images><Image Name="debian">{adaptors()}</Image></Images>'
TYPES = f'<InstanceTypes><InstanceType Name="small">{processor()}</InstanceType></InstanceTypes>'
CLUSTER_NODE = f'<ClusterNode Name="thin"><MaxNumNodes>2</MaxNumNodes>{processor()}</ClusterNode>'
SOAP = "<Name>n</Name><Namespace>s</Namespace><Port>p</Port>"
DATA = f"<Host>h</Host><Path>/d</Path>{adaptors()}"
DISK = '<SharedDisks><AttachedDisk Name="lake"><MountPoint>/m</MountPoint></AttachedDisk></SharedDisks>'
LAKE = '<SharedDisk Name="lake"/>'


def read(inside):
    return read_resources(resources(inside))


def provider(inside):
    return read(f'<CloudProvider Name="cumulus">{inside}</CloudProvider>').providers[0]


def cluster(inside):
    return read(f'<ComputingCluster Name="hive">{inside}</ComputingCluster>').clusters[0]


def test_the_whole_format_is_read():
    """A file with everything in it is read, as text and as bytes, to the same value."""
    found = read_resources(FULL_RESOURCES)
    assert read_resources(FULL_RESOURCES.encode()) == found
    assert [disk.name for disk in found.shared_disks] == ["lake", "pond"]
    assert found.shared_disks[0].storage == Storage(size_gb=2000, type="Persistent", bandwidth=100)
    node = found.compute_nodes[0]
    assert node.hardware.units() == 4
    assert node.hardware.price.per_unit == 0
    assert len(node.adaptors) == 4
    assert found.data_nodes[0].host == "vault.example"
    assert found.services[0].port == "SoapyPort"
    assert found.http_services[0].services == ("one", "two")
    assert found.providers[0].endpoint == Endpoint(
        server="https://cloud.example",
        connector_jar="conn.jar",
        connector_class="es.bsc.conn.Some",
        port="11443",
    )
    assert found.providers[0].images[0].creation_time_s == 60
    assert found.providers[0].instance_types[0].hardware.memory.size_gb == 4
    assert found.clusters[0].nodes[0].max_num_nodes == 2


@pytest.mark.parametrize("text", ["<ResourcesList/>", "<ResourcesList>\n</ResourcesList>", "\ufeff<ResourcesList/>"])
def test_an_empty_list_is_normal(text):
    """Agents start without any known resource."""
    found = read_resources(text)
    assert found == Resources(at=found.at)


@pytest.mark.parametrize("root", ["Project", "ResourceList", "resourceslist"])
def test_another_root_is_refused(root):
    """A file of another kind is told from a list of resources by its root."""
    refused(read_resources, f"<{root}/>", element=root, says="<ResourcesList>")


def test_a_compute_node_has_processors_and_adaptors():
    """The two things that every node says are required; the list of processors may be long."""
    assert (
        len(
            read(offered_node(inside=adaptors() + processor("a") + processor("b"))).compute_nodes[0].hardware.processors
        )
        == 2
    )
    refused(read, offered_node(inside=adaptors()), element="ComputeNode", says="at least one <Processor>")
    refused(read, offered_node(inside=processor()), element="ComputeNode", says="exactly one <Adaptors>")


@pytest.mark.parametrize("more", [adaptors(), "<Memory><Size>1</Size></Memory>" * 2, "<Storage/><Storage/>", DISK * 2])
def test_what_stands_once_stands_once(more):
    """A second one of a kind is refused where it stands."""
    element = more[1:].replace("/", ">").split(">")[0]
    refused(read, LAKE + offered_node(more=more), element=element, says=f"a second <{element}>")


def test_processors_of_a_node_have_different_names():
    """Two processors of one name in one node are refused; in two nodes they are not."""
    refused(read, offered_node(inside=processor() * 2 + adaptors()), element="Processor", says="called 'cpu'")
    read(offered_node("a") + offered_node("b"))


@pytest.mark.parametrize(
    ("entry", "element"),
    [
        (LAKE, "SharedDisk"),
        (offered_node(), "ComputeNode"),
        (f'<DataNode Name="d">{DATA}</DataNode>', "DataNode"),
        (f'<Service wsdl="w">{SOAP}</Service>', "Service"),
        ('<Http BaseUrl="u"/>', "Http"),
        (f'<CloudProvider Name="c">{ENDPOINT}{IMAGES}{TYPES}</CloudProvider>', "CloudProvider"),
        (f'<ComputingCluster Name="c">{adaptors()}{CLUSTER_NODE}</ComputingCluster>', "ComputingCluster"),
    ],
)
def test_entries_of_a_kind_have_different_names(entry, element):
    """Each kind may stand any number of times, under names that differ."""
    read(entry)
    refused(read, entry + entry, element=element, says=f"a second <{element}>")


@pytest.mark.parametrize(
    "holder",
    [
        offered_node(more=DISK),
        f'<DataNode Name="d">{DATA}{DISK}</DataNode>',
        f'<CloudProvider Name="c">{ENDPOINT}{IMAGES.replace("</Image>", DISK + "</Image>")}{TYPES}</CloudProvider>',
        f'<ComputingCluster Name="c">{adaptors()}{DISK}{CLUSTER_NODE}</ComputingCluster>',
    ],
)
def test_an_attached_disk_is_declared(holder):
    """Whoever attaches a disk finds it declared, before or after."""
    read(holder + LAKE)
    refused(read, holder, element="AttachedDisk", says=["'lake'", "<SharedDisk>"])
    refused(read, holder + LAKE.replace("lake", "Lake"), element="AttachedDisk", says="Did you mean 'Lake'")


@pytest.mark.parametrize("tag", ["Host", "Path", "Adaptors"])
def test_a_data_node_says_where_the_data_are(tag):
    """Host, path and adaptors are required."""
    inside = DATA.replace(f"<{tag}>", "<!--").replace(f"</{tag}>", "-->")
    refused(read, f'<DataNode Name="d">{inside}</DataNode>', element="DataNode", says=f"exactly one <{tag}>")


@pytest.mark.parametrize("tag", ["Name", "Namespace", "Port"])
def test_a_service_says_how_it_is_called(tag):
    """Name, namespace and port are required."""
    inside = SOAP.replace(f"<{tag}>", "<!--").replace(f"</{tag}>", "-->")
    refused(read, f'<Service wsdl="w">{inside}</Service>', element="Service", says=f"exactly one <{tag}>")


def test_http_services_may_be_none():
    """A base URL without services is read; an empty name is refused."""
    assert read('<Http BaseUrl="u"/>').http_services[0].services == ()
    refused(read, '<Http BaseUrl="u"><ServiceName/></Http>', element="ServiceName", says="not empty")
    refused(read, "<Http/>", element="Http", says="BaseUrl")


@pytest.mark.parametrize(
    ("inside", "element"),
    [
        (IMAGES + TYPES, "CloudProvider"),
        (ENDPOINT + TYPES, "CloudProvider"),
        (ENDPOINT + IMAGES, "CloudProvider"),
        (ENDPOINT.replace("<Server>https://c</Server>", "") + IMAGES + TYPES, "Endpoint"),
        (ENDPOINT.replace("c.jar", "") + IMAGES + TYPES, "ConnectorJar"),
        (ENDPOINT + '<Images><Image Name="i"/></Images>' + TYPES, "Image"),
        (ENDPOINT + IMAGES.replace("</Image>", "<CreationTime>-1</CreationTime></Image>") + TYPES, "CreationTime"),
        (ENDPOINT + IMAGES + '<InstanceTypes><InstanceType Name="s"/></InstanceTypes>', "InstanceType"),
        (ENDPOINT + IMAGES + TYPES.replace("</InstanceType>", "<Software/></InstanceType>"), "Software"),
    ],
)
def test_other_providers_are_refused(inside, element):
    """A provider has an endpoint, images with adaptors, and instance types with processors."""
    refused(provider, inside, element=element)


def test_a_provider_may_leave_out_its_port():
    """The port may be part of the server's address."""
    assert provider(ENDPOINT + IMAGES + TYPES).endpoint.port is None


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_a_cluster_in_any_order(order):
    """The order of a cluster's children makes no difference, though the format prescribes one."""
    parts = [adaptors(), "<OperatingSystem><Type>Linux</Type></OperatingSystem>", CLUSTER_NODE]
    assert cluster("".join(parts[index] for index in order)) == cluster("".join(parts))


@pytest.mark.parametrize(
    ("inside", "element"),
    [
        (CLUSTER_NODE, "ComputingCluster"),
        (adaptors(), "ComputingCluster"),
        (adaptors() + CLUSTER_NODE * 2, "ClusterNode"),
        (adaptors() + CLUSTER_NODE.replace("<MaxNumNodes>2</MaxNumNodes>", ""), "ClusterNode"),
        (adaptors() + CLUSTER_NODE.replace(">2<", ">0<"), "MaxNumNodes"),
        (adaptors() + CLUSTER_NODE.replace(processor(), ""), "ClusterNode"),
        (adaptors() + CLUSTER_NODE.replace(processor(), processor() * 2), "Processor"),
    ],
)
def test_other_clusters_are_refused(inside, element):
    """A cluster has adaptors, and kinds of nodes with processors and a number."""
    refused(cluster, inside, element=element)
