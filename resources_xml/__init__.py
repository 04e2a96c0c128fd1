"""Reading of the field's two XML files: text in, plain values out.

`read_project` and `read_resources` each understand one file; `nodes` says what both mean together. Law: this package
touches no disk, no clock and no network, and whatever the text is, nothing but `ResourcesXmlError` comes out of it.
"""

from resources_xml.adaptors import Adaptor, Batch, BatchProperties, Ports, Property, Submission
from resources_xml.combine import OWN_NAME, nodes
from resources_xml.errors import Position, ResourcesXmlError
from resources_xml.hardware import AttachedDisk, Hardware, Memory, OperatingSystem, Price, Processor, Storage
from resources_xml.project import ApplicationPaths, Package, Project, read_project
from resources_xml.reach import COMM_AGENT_ADAPTOR
from resources_xml.resources import Endpoint, Resources, read_resources
from resources_xml.specs import (
    AdaptorSpec,
    CloudSpec,
    ClusterNodesSpec,
    ClusterSpec,
    DataNodeSpec,
    HttpSpec,
    ImageSpec,
    InstanceTypeSpec,
    Nodes,
    NodeSpec,
    Note,
    ProviderSpec,
    ServiceSpec,
)

__all__ = [
    "COMM_AGENT_ADAPTOR",
    "OWN_NAME",
    "Adaptor",
    "AdaptorSpec",
    "ApplicationPaths",
    "AttachedDisk",
    "Batch",
    "BatchProperties",
    "CloudSpec",
    "ClusterNodesSpec",
    "ClusterSpec",
    "DataNodeSpec",
    "Endpoint",
    "Hardware",
    "HttpSpec",
    "ImageSpec",
    "InstanceTypeSpec",
    "Memory",
    "NodeSpec",
    "Nodes",
    "Note",
    "OperatingSystem",
    "Package",
    "Ports",
    "Position",
    "Price",
    "Processor",
    "Project",
    "Property",
    "ProviderSpec",
    "Resources",
    "ResourcesXmlError",
    "ServiceSpec",
    "Storage",
    "Submission",
    "nodes",
    "read_project",
    "read_resources",
]
