"""The clouds that a project selects, complete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from resources_xml.errors import quoted
from resources_xml.findings import Findings, called
from resources_xml.reach import adaptor_spec
from resources_xml.specs import CloudSpec, ImageSpec, InstanceTypeSpec, ProviderSpec

if TYPE_CHECKING:
    from resources_xml.project import SelectedCloud, SelectedImage, SelectedProvider
    from resources_xml.resources import OfferedImage, OfferedProvider


def cloud_spec(
    cloud: SelectedCloud, offered: tuple[OfferedProvider, ...], adaptor: str, findings: Findings
) -> CloudSpec | None:
    """Complete the cloud section; None when no provider of it is left.

    Raises:
        ResourcesXmlError: an image names a queue that it has not.
    """
    pairs = findings.matched("CloudProvider", cloud.providers, offered)
    providers = [_provider(selected, existing, adaptor, findings) for selected, existing in pairs]
    usable = tuple(provider for provider in providers if provider is not None)
    if not usable:
        return None
    return CloudSpec(
        providers=usable,
        initial_vms=_clamped(cloud, findings),
        minimum_vms=cloud.minimum_vms or 0,
        maximum_vms=cloud.maximum_vms,
    )


def _clamped(cloud: SelectedCloud, findings: Findings) -> int:
    """Bring the initial number of machines into its range; warn if one was written and is changed."""
    initial, low = cloud.initial_vms or 0, cloud.minimum_vms or 0
    high = initial if cloud.maximum_vms is None else cloud.maximum_vms
    clamped = max(low, min(initial, high))
    if cloud.initial_vms is not None and clamped != initial:
        bound = "MinimumVMs" if clamped > initial else "MaximumVMs"
        findings.warn("Cloud", f"InitialVMs {initial} is set to {clamped}, the {bound}", cloud.at)
    return clamped


def _provider(
    selected: SelectedProvider, offered: OfferedProvider, adaptor: str, findings: Findings
) -> ProviderSpec | None:
    entry = called("CloudProvider", selected.name)
    images = tuple(
        _image(image, existing, adaptor)
        for image, existing in findings.matched(f"{entry}, Image", selected.images, offered.images)
    )
    types = tuple(
        InstanceTypeSpec(name=existing.name, hardware=existing.hardware)
        for _, existing in findings.matched(f"{entry}, InstanceType", selected.instance_types, offered.instance_types)
    )
    if not images or not types:
        findings.warn(entry, f"has no {'instance type' if images else 'image'} left: skipped", selected.at)
        return None
    connector = quoted(offered.endpoint.connector_class)
    findings.note(entry, f"kept, without effect: an agent does not run the connector {connector}", selected.at)
    return ProviderSpec(
        name=selected.name,
        endpoint=offered.endpoint,
        images=images,
        instance_types=types,
        limit_of_vms=selected.limit_of_vms,
        properties=selected.properties,
    )


def _image(selected: SelectedImage, offered: OfferedImage, adaptor: str) -> ImageSpec:
    installation = selected.installation
    brought = (package.software for package in selected.packages)
    return ImageSpec(
        name=selected.name,
        system=replace(offered.system, software=offered.system.software.union(*brought)),
        install_dir=installation.install_dir,
        working_dir=installation.working_dir,
        user=installation.user,
        application=installation.application,
        limit_of_tasks=installation.limit_of_tasks,
        creation_time_s=offered.creation_time_s,
        packages=selected.packages,
        adaptor=adaptor_spec(
            adaptor,
            entry=called("Image", selected.name),
            selected=installation.adaptors,
            offered=offered.adaptors,
            findings=Findings(),  # the provider as a whole is noted already
            at=selected.at,
        ),
    )
