"""What both files say together: every resource that the project selects, complete, and what was noticed."""

from __future__ import annotations

from dataclasses import dataclass, field

from resources_xml.adaptors import BatchProperties, Ports, Property
from resources_xml.errors import Position
from resources_xml.hardware import NO_SOFTWARE, AttachedDisk, Hardware, OperatingSystem, Price, Storage
from resources_xml.project import ApplicationPaths, Package
from resources_xml.resources import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptorSpec:
    """How a resource is reached; where both files speak, the project's word counts.

    `properties` are never shown: their values may be secrets.
    """

    name: str
    interactive: bool = True
    queues: tuple[str, ...] = ()
    batch: BatchProperties | None = None
    ports: Ports | None = None
    broker: str | None = None
    user: str | None = None
    known_hosts_path: str | None = None
    identity_paths: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A device: the own one, or a compute node.

    `adaptor` is None for the own device, and for a node that declares no adaptor of the name asked for: nothing can
    reach that one. `concurrent_tasks` is the least of the limit and the CPU units.
    """

    name: str
    hardware: Hardware
    limit_of_tasks: int | None = None
    concurrent_tasks: int = 0
    adaptor: AdaptorSpec | None = None
    install_dir: str | None = None
    working_dir: str | None = None
    user: str | None = None
    application: ApplicationPaths | None = None

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues through which the node takes work."""
        return self.adaptor.queues if self.adaptor else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSpec:
    """The services of one base URL. No limit of tasks: None."""

    base_url: str
    services: tuple[str, ...] = ()
    limit_of_tasks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A SOAP service. No limit of tasks: None."""

    wsdl: str
    name: str
    namespace: str
    port: str
    price: Price | None = None
    limit_of_tasks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataNodeSpec:
    """A node that holds data."""

    name: str
    host: str
    path: str
    storage: Storage | None = None
    shared_disks: tuple[AttachedDisk, ...] = ()
    adaptor: AdaptorSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """An image of a cloud; `system` includes the software that the packages bring."""

    name: str
    system: Hardware
    install_dir: str
    working_dir: str
    user: str | None = None
    application: ApplicationPaths | None = None
    limit_of_tasks: int | None = None
    creation_time_s: int | None = None
    adaptor: AdaptorSpec | None = None
    packages: tuple[Package, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceTypeSpec:
    """A kind of virtual machine."""

    name: str
    hardware: Hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """A cloud: where it is asked, and what of it may be used. No limit of machines: None."""

    name: str
    endpoint: Endpoint
    images: tuple[ImageSpec, ...]
    instance_types: tuple[InstanceTypeSpec, ...]
    limit_of_vms: int | None = None
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSpec:
    """All clouds, and how many machines there may be over all of them; maximum None: as many as are needed."""

    providers: tuple[ProviderSpec, ...]
    initial_vms: int = 0
    minimum_vms: int = 0
    maximum_vms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNodesSpec:
    """So many like nodes of a cluster; the hardware is that of each."""

    name: str
    hardware: Hardware
    number_of_nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """A computing cluster; system, software and disks are those of all its nodes."""

    name: str
    nodes: tuple[ClusterNodesSpec, ...]
    install_dir: str
    working_dir: str
    limit_of_tasks: int | None = None
    concurrent_tasks: int = 0
    operating_system: OperatingSystem | None = None
    software: frozenset[str] = NO_SOFTWARE
    shared_disks: tuple[AttachedDisk, ...] = ()
    user: str | None = None
    application: ApplicationPaths | None = None
    adaptor: AdaptorSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something about one entry that its writer should know."""

    entry: str
    text: str
    at: Position

    def __str__(self) -> str:
        return f"{self.at}: {self.entry}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Everything that the project selects.

    `notes` tell what is read and kept but has no effect in an agent; `warnings` what was skipped or changed.
    """

    own: NodeSpec
    compute_nodes: tuple[NodeSpec, ...] = ()
    http_services: tuple[HttpSpec, ...] = ()
    services: tuple[ServiceSpec, ...] = ()
    cloud: CloudSpec | None = None
    clusters: tuple[ClusterSpec, ...] = ()
    data_nodes: tuple[DataNodeSpec, ...] = ()
    notes: tuple[Note, ...] = ()
    warnings: tuple[Note, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Tell whether anything here can run a task: an own CPU unit, a compute node or an HTTP service."""
        return self.own.hardware.units() > 0 or bool(self.compute_nodes or self.http_services)
