"""Laws of reading: order says nothing."""

import random
import xml.etree.ElementTree as ET
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from resources_xml import read_project, read_resources

SAMPLES = Path(__file__).parents[1] / "unit" / "resources_xml"
PROJECT = (SAMPLES / "full_project.xml").read_bytes()
RESOURCES = (SAMPLES / "full_resources.xml").read_bytes()


def shuffled(data, seed):
    """Reorder children that differ in tag; those of one tag keep their order among themselves."""
    chance = random.Random(seed)
    root = ET.fromstring(data)
    for element in list(root.iter()):
        ranks = {tag: chance.random() for tag in sorted({child.tag for child in element})}
        element[:] = sorted(element, key=lambda child, ranks=ranks: ranks[child.tag])
    return ET.tostring(root)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_order_of_children_says_nothing(seed):
    """Files that differ in the order of unlike children mean the same."""
    assert read_project(shuffled(PROJECT, seed)) == read_project(PROJECT)
    assert read_resources(shuffled(RESOURCES, seed)) == read_resources(RESOURCES)
