"""Clouds: selected images and instance types, and how many machines there may be."""

import pytest

from resources_xml import ApplicationPaths, nodes, read_project, read_resources
from tests.unit.resources_xml.resources_xml_samples import (
    FULL_PROJECT,
    FULL_RESOURCES,
    PLACES,
    adaptors,
    combined,
    processor,
)

ENDPOINT = (
    "<Endpoint><Server>https://c</Server><ConnectorJar>c.jar</ConnectorJar>"
    "<ConnectorClass>c.C</ConnectorClass></Endpoint>"
)


def cloud(limits="", images=("debian",), types=("small",)):
    """Combine a cloud that selects these of one image `debian` and one instance type `small`."""
    selected_images = "".join(f'<Image Name="{name}">{PLACES}</Image>' for name in images)
    selected_types = "".join(f'<InstanceType Name="{name}"/>' for name in types)
    selected = (
        f'<Cloud>{limits}<CloudProvider Name="cumulus"><Images>{selected_images}</Images>'
        f"<InstanceTypes>{selected_types}</InstanceTypes></CloudProvider></Cloud>"
    )
    existing = (
        f'<CloudProvider Name="cumulus">{ENDPOINT}<Images><Image Name="debian">{adaptors()}</Image></Images>'
        f'<InstanceTypes><InstanceType Name="small">{processor()}</InstanceType></InstanceTypes></CloudProvider>'
    )
    return combined(selected, existing)


def limits(**numbers):
    return "".join(f"<{name}VMs>{number}</{name}VMs>" for name, number in numbers.items())


def test_a_provider_is_complete():
    """An image has the system of the resource and the places of the project; packages bring software."""
    found = nodes(read_project(FULL_PROJECT), read_resources(FULL_RESOURCES)).cloud
    (provider,) = found.providers
    (image,) = provider.images
    (instance_type,) = provider.instance_types
    assert provider.endpoint.connector_class == "es.bsc.conn.Some"
    assert (provider.limit_of_vms, len(provider.properties)) == (3, 2)
    assert image.system.software == {"JAVA", "TOOL"}
    assert image.system.operating_system.type == "Linux"
    assert image.system.shared_disks[0].name == "lake"
    assert (image.user, image.limit_of_tasks, image.creation_time_s) == ("vm", 2, 60)
    assert image.adaptor.properties == {"Port": "46302"}
    assert len(image.packages) == 2
    assert instance_type.hardware.units() == 2
    assert instance_type.hardware.storage.size_gb == 20


def test_the_python_path_of_an_image_is_its_own():
    """Class path and Python path of an image are not taken for each other."""
    found = nodes(read_project(FULL_PROJECT), read_resources(FULL_RESOURCES)).cloud
    assert found.providers[0].images[0].application == ApplicationPaths(classpath="/a.jar", pythonpath="/py")


@pytest.mark.parametrize(
    ("numbers", "expected", "warned"),
    [
        ({}, (0, 0, None), None),
        ({"Initial": 2}, (2, 0, None), None),
        ({"Minimum": 2}, (2, 2, None), None),
        ({"Initial": 1, "Minimum": 2}, (2, 2, None), "InitialVMs 1 is set to 2, the MinimumVMs"),
        ({"Initial": 9, "Maximum": 4}, (4, 0, 4), "InitialVMs 9 is set to 4, the MaximumVMs"),
        ({"Initial": 3, "Minimum": 2, "Maximum": 4}, (3, 2, 4), None),
        ({"Minimum": 2, "Maximum": 2}, (2, 2, 2), None),
        ({"Maximum": 0}, (0, 0, 0), None),
    ],
)
def test_the_initial_number_lies_in_its_range(numbers, expected, warned):
    """A first number outside the range is moved into it, which is said if one was written."""
    found = cloud(limits(**numbers))
    assert (found.cloud.initial_vms, found.cloud.minimum_vms, found.cloud.maximum_vms) == expected
    changes = [note.text for note in found.warnings if note.entry == "Cloud"]
    assert changes == ([warned] if warned else [])


def test_images_and_types_that_do_not_exist_are_skipped():
    """What is left of a provider is used."""
    found = cloud(images=("debian", "beos"), types=("small", "huge"))
    (provider,) = found.cloud.providers
    assert [image.name for image in provider.images] == ["debian"]
    assert [one.name for one in provider.instance_types] == ["small"]
    entries = [note.entry for note in found.warnings]
    assert "CloudProvider 'cumulus', Image 'beos'" in entries
    assert "CloudProvider 'cumulus', InstanceType 'huge'" in entries


@pytest.mark.parametrize(("part", "word"), [({"images": ("beos",)}, "image"), ({"types": ("huge",)}, "instance type")])
def test_a_provider_with_nothing_left_is_skipped(part, word):
    """A provider without an image or without an instance type can start no machine."""
    found = cloud(**part)
    assert found.cloud is None
    assert any(f"has no {word} left: skipped" in note.text for note in found.warnings)
    assert found.notes == ()
