"""The resources file: what is known to exist, whether a project uses it or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resources_xml.adaptors import OFFERED_ADAPTORS, Adaptor
from resources_xml.errors import Position, ResourcesXmlError, quoted, suggestion
from resources_xml.hardware import (
    IMAGE_SYSTEM,
    INSTANCE_HARDWARE,
    NO_SOFTWARE,
    NODE_HARDWARE,
    OPERATING_SYSTEM,
    PRICE,
    SHARED_DISKS,
    SOFTWARE,
    STORAGE,
    AttachedDisk,
    Hardware,
    OperatingSystem,
    Price,
    Storage,
)
from resources_xml.parse import parse
from resources_xml.schema import HERE, NAME, Attribute, Shape, leaf, listing, many, maybe, one
from resources_xml.values import integer, known_text, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from resources_xml.parse import Element


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDisk:
    """A disk that several devices attach."""

    name: str
    storage: Storage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedNode:
    """A compute node that exists."""

    name: str
    hardware: Hardware
    adaptors: tuple[Adaptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedDataNode:
    """A node that holds data."""

    name: str
    host: str
    path: str
    adaptors: tuple[Adaptor, ...]
    storage: Storage | None = None
    shared_disks: tuple[AttachedDisk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedService:
    """A SOAP service that exists; `port` is the name that its description gives it."""

    wsdl: str
    name: str
    namespace: str
    port: str
    price: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedHttp:
    """A base URL and the services that it offers."""

    base_url: str
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a cloud is asked for machines, and by which connector. `port` is None when the server's name says it."""

    server: str
    connector_jar: str
    connector_class: str
    port: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedImage:
    """An image of a cloud: the system of its machines, and how they are reached."""

    name: str
    system: Hardware
    adaptors: tuple[Adaptor, ...]
    creation_time_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedInstanceType:
    """A kind of virtual machine."""

    name: str
    hardware: Hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedProvider:
    """A cloud that exists."""

    name: str
    endpoint: Endpoint
    images: tuple[OfferedImage, ...]
    instance_types: tuple[OfferedInstanceType, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedClusterNodes:
    """Like nodes of a cluster: what each is made of, and how many there are."""

    name: str
    hardware: Hardware
    max_num_nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedCluster:
    """A computing cluster that exists; system, software and disks are those of all its nodes."""

    name: str
    adaptors: tuple[Adaptor, ...]
    nodes: tuple[OfferedClusterNodes, ...]
    operating_system: OperatingSystem | None = None
    software: frozenset[str] = NO_SOFTWARE
    shared_disks: tuple[AttachedDisk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """A whole resources file."""

    shared_disks: tuple[SharedDisk, ...] = ()
    compute_nodes: tuple[OfferedNode, ...] = ()
    data_nodes: tuple[OfferedDataNode, ...] = ()
    services: tuple[OfferedService, ...] = ()
    http_services: tuple[OfferedHttp, ...] = ()
    providers: tuple[OfferedProvider, ...] = ()
    clusters: tuple[OfferedCluster, ...] = ()
    at: Position = field(compare=False, repr=False)


def read_resources(text: str | bytes, *, source: str = "resources.xml") -> Resources:
    """Read a resources file.

    Args:
        text: the whole content of the file.
        source: its name, for messages.

    Raises:
        ResourcesXmlError: the file is wrong; its writer can mend it.
    """
    root = parse(text, source)
    if root.tag != "ResourcesList":
        raise root.fault(
            f"a file of <{root.tag}>",
            expected="<ResourcesList> as the outermost element",
            remedy="Give the list of resources here; the project (<Project>) is the other file.",
        )
    return _RESOURCES(root)


def check_disks(attached: Iterable[AttachedDisk], declared: Iterable[SharedDisk]) -> None:
    """Refuse a disk that is attached and nowhere declared.

    Raises:
        ResourcesXmlError: with the place of the attachment.
    """
    names = {disk.name for disk in declared}
    for disk in attached:
        if disk.name not in names:
            raise ResourcesXmlError(
                f"the disk {quoted(disk.name)} is attached and not declared",
                at=disk.at,
                element="AttachedDisk",
                expected="a <SharedDisk> of that name in the resources file",
                remedy=suggestion(disk.name, names),
            )


def _attached(resources: Resources) -> Iterator[AttachedDisk]:
    for node in resources.compute_nodes:
        yield from node.hardware.shared_disks
    for provider in resources.providers:
        for image in provider.images:
            yield from image.system.shared_disks
    for data_node in resources.data_nodes:
        yield from data_node.shared_disks
    for cluster in resources.clusters:
        yield from cluster.shared_disks


def _check_attached(resources: Resources, _root: Element) -> None:
    check_disks(_attached(resources), resources.shared_disks)


_ADAPTORS = one("Adaptors", OFFERED_ADAPTORS)
_DISKS = maybe("SharedDisks", SHARED_DISKS, default=())

_SHARED_DISK = Shape(SharedDisk, {"name": NAME, "storage": maybe("Storage", STORAGE)})
_NODE = Shape(OfferedNode, {"name": NAME, "hardware": NODE_HARDWARE, "adaptors": _ADAPTORS})
_DATA_NODE = Shape(
    OfferedDataNode,
    {
        "name": NAME,
        "host": one("Host", leaf(text)),
        "path": one("Path", leaf(text)),
        "adaptors": _ADAPTORS,
        "storage": maybe("Storage", STORAGE),
        "shared_disks": _DISKS,
    },
)
_SERVICE = Shape(
    OfferedService,
    {
        "wsdl": Attribute("wsdl"),
        "name": one("Name", leaf(text)),
        "namespace": one("Namespace", leaf(text)),
        "port": one("Port", leaf(text)),
        "price": maybe("Price", PRICE),
    },
)
_HTTP = Shape(OfferedHttp, {"base_url": Attribute("BaseUrl"), "services": many("ServiceName", leaf(text))})

_ENDPOINT = Shape(
    Endpoint,
    {
        "server": one("Server", leaf(text)),
        "connector_jar": one("ConnectorJar", leaf(text)),
        "connector_class": one("ConnectorClass", leaf(text)),
        "port": maybe("Port", leaf(known_text)),
    },
)
_IMAGE = Shape(
    OfferedImage,
    {
        "name": NAME,
        "system": IMAGE_SYSTEM,
        "adaptors": _ADAPTORS,
        "creation_time_s": maybe("CreationTime", leaf(integer(0))),
    },
)
_INSTANCE_TYPE = Shape(OfferedInstanceType, {"name": NAME, "hardware": INSTANCE_HARDWARE})
_PROVIDER = Shape(
    OfferedProvider,
    {
        "name": NAME,
        "endpoint": one("Endpoint", _ENDPOINT),
        "images": one("Images", listing("Image", _IMAGE, key="name")),
        "instance_types": one("InstanceTypes", listing("InstanceType", _INSTANCE_TYPE, key="name")),
    },
)
_CLUSTER_NODES = Shape(
    OfferedClusterNodes,
    {"name": NAME, "hardware": INSTANCE_HARDWARE, "max_num_nodes": one("MaxNumNodes", leaf(integer(1)))},
)
_CLUSTER = Shape(
    OfferedCluster,
    {
        "name": NAME,
        "adaptors": _ADAPTORS,
        "operating_system": maybe("OperatingSystem", OPERATING_SYSTEM),
        "software": maybe("Software", SOFTWARE, default=NO_SOFTWARE),
        "shared_disks": _DISKS,
        "nodes": many("ClusterNode", _CLUSTER_NODES, least=1, key="name"),
    },
)
_RESOURCES = Shape(
    Resources,
    {
        "shared_disks": many("SharedDisk", _SHARED_DISK, key="name"),
        "compute_nodes": many("ComputeNode", _NODE, key="name"),
        "data_nodes": many("DataNode", _DATA_NODE, key="name"),
        "services": many("Service", _SERVICE, key="wsdl"),
        "http_services": many("Http", _HTTP, key="base_url"),
        "providers": many("CloudProvider", _PROVIDER, key="name"),
        "clusters": many("ComputingCluster", _CLUSTER, key="name"),
        "at": HERE,
    },
    _check_attached,
)
