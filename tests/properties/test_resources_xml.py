"""Laws of reading: whatever the text, a value or one kind of error; and order says nothing.

AGENTD_FUZZ_EXAMPLES sets how many mutated files are tried (100,000 takes minutes).
"""

import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources_xml import ResourcesXmlError, nodes, read_project, read_resources
from tests.fakes.mutation import EXAMPLES, edits, mutated

SAMPLES = Path(__file__).parents[1] / "unit" / "resources_xml"
PROJECT = (SAMPLES / "full_project.xml").read_bytes()
RESOURCES = (SAMPLES / "full_resources.xml").read_bytes()
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
PATIENT = pytest.mark.timeout(max(120, EXAMPLES // 20))


def fault_of(project, resources):
    """Read and combine; give the error, or None when both are accepted."""
    try:
        nodes(read_project(project), read_resources(resources))
    except ResourcesXmlError as error:
        return error
    return None


def check_fault(error):
    """Every error can be found and printed."""
    if error is not None:
        assert error.line >= 1
        assert error.column >= 1
        assert error.expected
        assert str(error).isprintable()
        assert len(str(error)) < 4000


@PATIENT
@FUZZ
@given(changes=edits, of_project=st.booleans(), as_text=st.booleans())
def test_a_mutated_file_is_read_or_refused(changes, of_project, as_text):
    """However bytes of a file are changed, nothing but the one error is raised, and it has a place."""
    pair = (mutated(PROJECT, changes), RESOURCES) if of_project else (PROJECT, mutated(RESOURCES, changes))
    if as_text:
        pair = tuple(data.decode("utf-8", "surrogateescape") for data in pair)
    check_fault(fault_of(*pair))


TREES = {id(data): list(ET.fromstring(data).iter()) for data in (PROJECT, RESOURCES)}
TAGS = sorted({element.tag for tree in TREES.values() for element in tree})
VALUES = st.one_of(
    st.sampled_from(["", "0", "-1", "3", "1e9", "Linux", "gpu", "beta", "lake", "[unassigned]"]), st.text(max_size=8)
)


def restructured(data, seed, value):
    """Change elements of a well-formed file: rename, empty, copy, drop, revalue."""
    chance = random.Random(seed)
    root = ET.fromstring(data)
    for _ in range(chance.randint(1, 5)):
        parent = chance.choice([element for element in root.iter() if len(element)] or [root])
        child = chance.choice(list(parent) or [root])
        action = chance.randrange(5)
        if action == 0:
            child.tag = chance.choice(TAGS)
        elif action == 1:
            child.clear()
        elif action == 2 and child is not root:
            parent.append(child)
        elif action == 3 and child is not root:
            parent.remove(child)
        else:
            child.text = "".join(char for char in value if char.isprintable())
    return ET.tostring(root, encoding="unicode")


@PATIENT
@FUZZ
@given(seed=st.integers(0, 2**32), of_project=st.booleans(), value=VALUES)
def test_a_restructured_file_is_read_or_refused(seed, of_project, value):
    """However elements of a well-formed file are moved or changed, nothing but the one error is raised."""
    pair = (
        restructured(PROJECT, seed, value) if of_project else PROJECT,
        RESOURCES if of_project else restructured(RESOURCES, seed, value),
    )
    check_fault(fault_of(*pair))


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


def test_the_samples_themselves_are_accepted():
    """The fuzzing starts from files that are right, or it would prove little."""
    assert fault_of(PROJECT, RESOURCES) is None
    accepted = [seed for seed in range(200) if fault_of(restructured(PROJECT, seed, "3"), RESOURCES) is None]
    assert 5 < len(accepted) < 195
