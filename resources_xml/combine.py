"""What the project selects out of the resources, complete, with notes and warnings.

The project selects by name; hardware, system, disks and prices come from the resources; folders, users and limits from
the project. The own device is the exception: all that is known of it stands in the project.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from resources_xml.clouds import cloud_spec
from resources_xml.findings import Findings, called
from resources_xml.reach import COMM_AGENT_ADAPTOR, adaptor_spec
from resources_xml.resources import check_disks
from resources_xml.specs import (
    ClusterNodesSpec,
    ClusterSpec,
    DataNodeSpec,
    HttpSpec,
    Nodes,
    NodeSpec,
    ServiceSpec,
)

if TYPE_CHECKING:
    from resources_xml.adaptors import Adaptor
    from resources_xml.errors import Position
    from resources_xml.project import (
        MasterNode,
        Project,
        SelectedCluster,
        SelectedClusterNodes,
        SelectedDataNode,
        SelectedNode,
        SelectedService,
    )
    from resources_xml.resources import (
        OfferedCluster,
        OfferedClusterNodes,
        OfferedDataNode,
        OfferedHttp,
        OfferedNode,
        OfferedService,
        Resources,
    )
    from resources_xml.specs import AdaptorSpec

OWN_NAME: Final = "MasterNode"  # the files do not name the own device; the agent does


def nodes(project: Project, resources: Resources, *, adaptor: str = COMM_AGENT_ADAPTOR) -> Nodes:
    """Combine both files.

    Args:
        project: what is selected.
        resources: what it is selected from.
        adaptor: the name of the adaptor by which resources are reached; the settings of others are not used.

    Raises:
        ResourcesXmlError: the files contradict each other in a way that cannot be skipped: a queue that the resource
            has not, or a disk that is not declared.
    """
    return _Combination(resources, adaptor).of(project)


class _Combination:
    """The combination of one project with resources; one is made per call."""

    def __init__(self, resources: Resources, adaptor: str) -> None:
        self._resources = resources
        self._adaptor = adaptor
        self._findings = Findings()

    def of(self, project: Project) -> Nodes:
        offered, matched = self._resources, self._findings.matched
        own = self._own(project.master_node)
        compute_nodes = tuple(
            self._node(*pair) for pair in matched("ComputeNode", project.compute_nodes, offered.compute_nodes)
        )
        http = matched("Http", project.http_services, offered.http_services, keys=("url", "base_url"))
        services = matched("Service", project.services, offered.services, keys=("url", "wsdl"))
        clusters = matched("ComputingCluster", project.clusters, offered.clusters)
        data_nodes = matched("DataNode", project.data_nodes, offered.data_nodes)
        found = Nodes(
            own=own,
            compute_nodes=compute_nodes,
            http_services=tuple(self._http(*pair) for pair in http),
            services=tuple(self._service(*pair) for pair in services),
            cloud=cloud_spec(project.cloud, offered.providers, self._adaptor, self._findings)
            if project.cloud
            else None,
            clusters=tuple(self._cluster(*pair) for pair in clusters),
            data_nodes=tuple(self._data_node(*pair) for pair in data_nodes),
        )
        return self._with_findings(found, project)

    def _own(self, master: MasterNode) -> NodeSpec:
        hardware = master.hardware
        check_disks(hardware.shared_disks, self._resources.shared_disks)
        things = {"SharedDisks": hardware.shared_disks, "Price": hardware.price}
        self._findings.kept(OWN_NAME, things, master.at)
        return NodeSpec(name=OWN_NAME, hardware=hardware, concurrent_tasks=hardware.units())

    def _node(self, selected: SelectedNode, offered: OfferedNode) -> NodeSpec:
        entry, installation, hardware = called("ComputeNode", selected.name), selected.installation, offered.hardware
        things = {
            "User": installation.user,
            "Application": installation.application,
            "SharedDisks": hardware.shared_disks,
            "Price": hardware.price,
        }
        self._findings.kept(entry, things, selected.at)
        return NodeSpec(
            name=selected.name,
            hardware=hardware,
            limit_of_tasks=installation.limit_of_tasks,
            concurrent_tasks=self._concurrent(entry, installation.limit_of_tasks, hardware.units(), selected.at),
            adaptor=self._reach(entry, installation.adaptors, offered.adaptors, selected.at, self._findings),
            install_dir=installation.install_dir,
            working_dir=installation.working_dir,
            user=installation.user,
            application=installation.application,
        )

    def _http(self, selected: SelectedService, offered: OfferedHttp) -> HttpSpec:
        return HttpSpec(base_url=offered.base_url, services=offered.services, limit_of_tasks=selected.limit_of_tasks)

    def _service(self, selected: SelectedService, offered: OfferedService) -> ServiceSpec:
        text = "kept, without effect: an agent does not call SOAP services"
        self._findings.note(called("Service", selected.url), text, selected.at)
        return ServiceSpec(
            wsdl=offered.wsdl,
            name=offered.name,
            namespace=offered.namespace,
            port=offered.port,
            price=offered.price,
            limit_of_tasks=selected.limit_of_tasks,
        )

    def _data_node(self, selected: SelectedDataNode, offered: OfferedDataNode) -> DataNodeSpec:
        entry = called("DataNode", selected.name)
        text = "kept, without effect: data stay with the agent that made them"
        self._findings.note(entry, text, selected.at)
        return DataNodeSpec(
            name=selected.name,
            host=offered.host,
            path=offered.path,
            storage=offered.storage,
            shared_disks=offered.shared_disks,
            adaptor=self._reach(entry, selected.adaptors, offered.adaptors, selected.at, Findings()),
        )

    def _cluster(self, selected: SelectedCluster, offered: OfferedCluster) -> ClusterSpec:
        entry, installation = called("ComputingCluster", selected.name), selected.installation
        text = "kept, without effect: start an agent on each node and select it as a ComputeNode"
        self._findings.note(entry, text, selected.at)
        pairs = self._findings.matched(f"{entry}, ClusterNode", selected.nodes, offered.nodes)
        kinds = tuple(self._cluster_nodes(entry, *pair) for pair in pairs)
        units = sum(kind.hardware.units() * kind.number_of_nodes for kind in kinds)
        return ClusterSpec(
            name=selected.name,
            nodes=kinds,
            install_dir=installation.install_dir,
            working_dir=installation.working_dir,
            limit_of_tasks=installation.limit_of_tasks,
            concurrent_tasks=self._concurrent(entry, installation.limit_of_tasks, units, selected.at),
            operating_system=offered.operating_system,
            software=offered.software | selected.software,
            shared_disks=offered.shared_disks,
            user=installation.user,
            application=installation.application,
            adaptor=self._reach(entry, installation.adaptors, offered.adaptors, selected.at, Findings()),
        )

    def _cluster_nodes(
        self, entry: str, selected: SelectedClusterNodes, offered: OfferedClusterNodes
    ) -> ClusterNodesSpec:
        number = min(selected.number_of_nodes, offered.max_num_nodes)
        if number < selected.number_of_nodes:
            text = f"NumberOfNodes {selected.number_of_nodes} is set to {number}, the MaxNumNodes"
            self._findings.warn(f"{entry}, {called('ClusterNode', selected.name)}", text, selected.at)
        return ClusterNodesSpec(name=selected.name, hardware=offered.hardware, number_of_nodes=number)

    def _concurrent(self, entry: str, limit: int | None, units: int, at: Position) -> int:
        concurrent = units if limit is None else min(limit, units)
        if concurrent == 0:
            reason = "LimitOfTasks is 0" if units else "has no CPU units"
            self._findings.warn(entry, f"{reason}: no task is given to it", at)
        return concurrent

    def _reach(
        self,
        entry: str,
        selected: tuple[Adaptor, ...],
        offered: tuple[Adaptor, ...],
        at: Position,
        findings: Findings,  # a fresh one where the entry as a whole has no effect, so that it is noted once
    ) -> AdaptorSpec | None:
        return adaptor_spec(self._adaptor, entry=entry, selected=selected, offered=offered, findings=findings, at=at)

    def _with_findings(self, found: Nodes, project: Project) -> Nodes:
        if not found.is_usable:
            text = "gives neither an own CPU nor a usable resource: tasks run only once capacity is added"
            self._findings.warn("Project", text, project.at)
        return replace(found, notes=tuple(self._findings.notes), warnings=tuple(self._findings.warnings))
