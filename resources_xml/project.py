"""The project file: what of the known resources is to be used, and the own device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resources_xml.adaptors import CLOUD_PROPERTIES, SELECTED_ADAPTORS, Adaptor, Property
from resources_xml.errors import Position
from resources_xml.hardware import NO_SOFTWARE, OWN_HARDWARE, SOFTWARE, Hardware
from resources_xml.parse import parse
from resources_xml.schema import HERE, NAME, Attribute, Shape, leaf, listing, many, maybe, one
from resources_xml.values import integer, known_text, text

if TYPE_CHECKING:
    from resources_xml.parse import Element


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationPaths:
    """Where users' code and its environment lie on a resource."""

    app_dir: str | None = None
    library_path: str | None = None
    classpath: str | None = None
    pythonpath: str | None = None
    environment_script: str | None = None
    python_interpreter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How a selected resource is to be used. No limit: as many tasks as it has CPU units."""

    install_dir: str
    working_dir: str
    user: str | None = None
    application: ApplicationPaths | None = None
    limit_of_tasks: int | None = None
    adaptors: tuple[Adaptor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterNode:
    """The own device."""

    hardware: Hardware
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedNode:
    """A compute node to be used."""

    name: str
    installation: Installation
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedDataNode:
    """A data node to be used."""

    name: str
    adaptors: tuple[Adaptor, ...] = ()
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedService:
    """A SOAP service (by its wsdl) or an HTTP service (by its base URL) to be used."""

    url: str
    limit_of_tasks: int | None = None
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What is copied into a virtual machine before its first task."""

    source: str
    target: str
    software: frozenset[str] = NO_SOFTWARE


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedImage:
    """An image of a cloud to be used."""

    name: str
    installation: Installation
    packages: tuple[Package, ...] = ()
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedInstanceType:
    """A kind of virtual machine to be used."""

    name: str
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedProvider:
    """A cloud to be used."""

    name: str
    images: tuple[SelectedImage, ...]
    instance_types: tuple[SelectedInstanceType, ...]
    limit_of_vms: int | None = None
    properties: tuple[Property, ...] = ()
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedCloud:
    """How many virtual machines there may be, as written. None: not said."""

    providers: tuple[SelectedProvider, ...]
    initial_vms: int | None = None
    minimum_vms: int | None = None
    maximum_vms: int | None = None
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedClusterNodes:
    """So many nodes of one kind of a cluster."""

    name: str
    number_of_nodes: int
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedCluster:
    """A computing cluster to be used."""

    name: str
    installation: Installation
    nodes: tuple[SelectedClusterNodes, ...]
    software: frozenset[str] = NO_SOFTWARE
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A whole project file."""

    master_node: MasterNode
    compute_nodes: tuple[SelectedNode, ...] = ()
    data_nodes: tuple[SelectedDataNode, ...] = ()
    services: tuple[SelectedService, ...] = ()
    http_services: tuple[SelectedService, ...] = ()
    cloud: SelectedCloud | None = None
    clusters: tuple[SelectedCluster, ...] = ()
    at: Position = field(compare=False, repr=False)


def read_project(text: str | bytes, *, source: str = "project.xml") -> Project:
    """Read a project file.

    Args:
        text: the whole content of the file.
        source: its name, for messages.

    Raises:
        ResourcesXmlError: the file is wrong; its writer can mend it.
    """
    root = parse(text, source)
    if root.tag != "Project":
        raise root.fault(
            f"a file of <{root.tag}>",
            expected="<Project> as the outermost element",
            remedy="Give the project file here; the list of resources (<ResourcesList>) is the other file.",
        )
    return _PROJECT(root)


def _check_range(cloud: SelectedCloud, element: Element) -> None:
    low, high = cloud.minimum_vms, cloud.maximum_vms
    if low is not None and high is not None and low > high:
        raise element.fault(
            f"MinimumVMs {low} and MaximumVMs {high}",
            expected="a minimum that is not above the maximum",
            remedy="Lower MinimumVMs or raise MaximumVMs.",
        )


_LIMIT = maybe("LimitOfTasks", leaf(integer(0)))
_APPLICATION = Shape(
    ApplicationPaths,
    {
        "app_dir": maybe("AppDir", leaf(known_text)),
        "library_path": maybe("LibraryPath", leaf(known_text)),
        "classpath": maybe("Classpath", leaf(known_text)),
        "pythonpath": maybe("Pythonpath", leaf(known_text)),
        "environment_script": maybe("EnvironmentScript", leaf(known_text)),
        "python_interpreter": maybe("PythonInterpreter", leaf(known_text)),
    },
)
_PLACES = {
    "install_dir": one("InstallDir", leaf(text)),
    "working_dir": one("WorkingDir", leaf(text)),
    "user": maybe("User", leaf(known_text)),
    "application": maybe("Application", _APPLICATION),
    "adaptors": maybe("Adaptors", SELECTED_ADAPTORS, default=()),
}
_INSTALLATION = Shape(Installation, {**_PLACES, "limit_of_tasks": _LIMIT})
_CLUSTER_INSTALLATION = Shape(Installation, {**_PLACES, "limit_of_tasks": one("LimitOfTasks", leaf(integer(0)))})

_MASTER_NODE = Shape(MasterNode, {"hardware": OWN_HARDWARE, "at": HERE})
_NODE = Shape(SelectedNode, {"name": NAME, "installation": _INSTALLATION, "at": HERE})
_DATA_NODE = Shape(
    SelectedDataNode, {"name": NAME, "adaptors": maybe("Adaptors", SELECTED_ADAPTORS, default=()), "at": HERE}
)
_SERVICE = Shape(SelectedService, {"url": Attribute("wsdl"), "limit_of_tasks": _LIMIT, "at": HERE})
_HTTP = Shape(SelectedService, {"url": Attribute("BaseUrl"), "limit_of_tasks": _LIMIT, "at": HERE})

_PACKAGE = Shape(
    Package,
    {
        "source": one("Source", leaf(text)),
        "target": one("Target", leaf(text)),
        "software": maybe("IncludedSoftware", SOFTWARE, default=NO_SOFTWARE),
    },
)
_IMAGE = Shape(
    SelectedImage,
    {"name": NAME, "installation": _INSTALLATION, "packages": many("Package", _PACKAGE), "at": HERE},
)
_IMAGES = listing("Image", _IMAGE, key="name")
_INSTANCE_TYPE = Shape(SelectedInstanceType, {"name": NAME, "at": HERE})
_INSTANCE_TYPES = listing("InstanceType", _INSTANCE_TYPE, key="name")
_PROVIDER = Shape(
    SelectedProvider,
    {
        "name": NAME,
        "images": one("Images", _IMAGES),
        "instance_types": one("InstanceTypes", _INSTANCE_TYPES),
        "limit_of_vms": maybe("LimitOfVMs", leaf(integer(0))),
        "properties": maybe("Properties", CLOUD_PROPERTIES, default=()),
        "at": HERE,
    },
)
_CLOUD = Shape(
    SelectedCloud,
    {
        "providers": many("CloudProvider", _PROVIDER, least=1, key="name"),
        "initial_vms": maybe("InitialVMs", leaf(integer(0))),
        "minimum_vms": maybe("MinimumVMs", leaf(integer(0))),
        "maximum_vms": maybe("MaximumVMs", leaf(integer(0))),
        "at": HERE,
    },
    _check_range,
)

_CLUSTER_NODES = Shape(
    SelectedClusterNodes,
    {"name": NAME, "number_of_nodes": one("NumberOfNodes", leaf(integer(1))), "at": HERE},
)
_CLUSTER = Shape(
    SelectedCluster,
    {
        "name": NAME,
        "installation": _CLUSTER_INSTALLATION,
        "nodes": many("ClusterNode", _CLUSTER_NODES, least=1, key="name"),
        "software": maybe("Software", SOFTWARE, default=NO_SOFTWARE),
        "at": HERE,
    },
)
_PROJECT = Shape(
    Project,
    {
        "master_node": one("MasterNode", _MASTER_NODE),
        "compute_nodes": many("ComputeNode", _NODE, key="name"),
        "data_nodes": many("DataNode", _DATA_NODE, key="name"),
        "services": many("Service", _SERVICE, key="url"),
        "http_services": many("Http", _HTTP, key="url"),
        "cloud": maybe("Cloud", _CLOUD),
        "clusters": many("ComputingCluster", _CLUSTER, key="name"),
        "at": HERE,
    },
)
