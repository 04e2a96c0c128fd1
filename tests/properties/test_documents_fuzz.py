"""Documents that somebody has changed, by the hundred thousand: each is read, or refused with words that can be shown.

AGENTD_FUZZ_DOCUMENTS says how many are tried in all, a quarter of each kind (4,000,000 takes minutes).
"""

from __future__ import annotations

import copy
import json
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.model.errors import RequestError
from agentd.rest.bodies.submission import check_json, read_batch, read_submission
from agentd.rest.call import Caller
from agentd.rest.compss.documents import read_end, read_new, read_node, read_reduce, read_start
from agentd.rest.gate.depth import is_deeper
from resources_xml import ResourcesXmlError, nodes, read_project, read_resources
from schedulers import configuration
from tests.fakes.compss_samples import BODIES
from tests.fakes.mutation import DOCUMENTS, JSON_TOKENS, XML_TOKENS, changed, outcomes

SAMPLES = Path(__file__).parents[1] / "unit" / "resources_xml"
PROJECT = (SAMPLES / "full_project.xml").read_bytes()
RESOURCES = (SAMPLES / "full_resources.xml").read_bytes()
BLOCKS = 3
"""Parts of a kind, so that they can be read side by side."""
WORDS_LIMIT = 4000
DEPTH_CAP = 64
OWNER = Caller("owner", "admin")
EVERYWHERE = ("https://example.org",)

Reader = Callable[[bytes], BaseException | None]
WORDS = ("", "0", "-1", "3", "1e9", "Linux", "gpu", "beta", "lake", "[unassigned]", "\u202e", "x" * 300)

# --- project and resources files ------------------------------------------------------------------------------------


def can_be_read(read: Callable[[bytes], object], text: bytes) -> bool:
    """Tell whether a file is accepted."""
    try:
        read(text)
    except ResourcesXmlError:
        return False
    return True


def parts_of(data: bytes, read: Callable[[bytes], object], chance: random.Random) -> list[ET.Element]:
    """Make small files of a full one: its root with one or two of what stands in it, as far as they are good."""
    root = ET.fromstring(data)
    needed = root.findall("MasterNode")
    small = []
    for child in root:
        for more in ([], [chance.choice(list(root))]):
            part = ET.Element(root.tag)
            part.extend(dict.fromkeys([*needed, child, *more]))
            small.append(part)
    return [root, *(part for part in small if can_be_read(read, ET.tostring(part)))]


def restructured(tree: ET.Element, tags: list[str], chance: random.Random) -> bytes:
    """Change elements of a well-formed file: rename, empty, copy, drop, revalue."""
    root = copy.deepcopy(tree)
    for _ in range(chance.randint(1, 4)):
        parent = chance.choice([element for element in root.iter() if len(element)] or [root])
        child = chance.choice(list(parent) or [root])
        action = chance.randrange(6)
        if action == 0:
            child.tag = chance.choice(tags)
        elif action == 1:
            child.clear()
        elif action == 2 and child is not root:
            parent.append(child)
        elif action == 3 and child is not root:
            parent.remove(child)
        elif action == 4 and child.attrib:
            child.set(chance.choice(list(child.attrib)), chance.choice(WORDS))
        else:
            child.text = chance.choice(WORDS)
    return ET.tostring(root)


def files(data: bytes, read: Callable[[bytes], object], chance: random.Random) -> Iterator[bytes]:
    """Give changed files, half by their bytes and half by their elements; one of twenty is a full one."""
    trees = parts_of(data, read, chance)
    texts = [ET.tostring(tree) for tree in trees]
    tags = sorted({element.tag for element in trees[0].iter()})
    while True:
        at = 0 if chance.random() < 0.05 else chance.randrange(1, len(trees))
        if chance.random() < 0.5:
            yield changed(texts[at], XML_TOKENS, chance)
        else:
            yield restructured(trees[at], tags, chance)


def file_reader(read: Callable[[bytes], Any], meaning: Callable[[Any], object]) -> Reader:
    """Give a reader of files that insists on refusals with a place."""

    def refused(document: bytes) -> BaseException | None:
        try:
            meaning(read(document))
        except ResourcesXmlError as error:
            assert_placed(error)
            return error
        return None

    return refused


def assert_placed(error: ResourcesXmlError) -> None:
    """Whoever wrote the file finds the place, and what would have been right."""
    assert error.line >= 1
    assert error.column >= 1
    assert error.expected
    assert_shown(error)


def assert_shown(error: BaseException) -> None:
    """Words for people: on one line, without what a terminal would obey, and not without end."""
    words = str(error)
    assert words.isprintable(), words
    assert len(words) < WORDS_LIMIT


def project_files(chance: random.Random) -> tuple[Iterator[bytes], Reader]:
    """Give project files, each read together with a good resources file."""
    resources = read_resources(RESOURCES)
    return files(PROJECT, read_project, chance), file_reader(read_project, lambda project: nodes(project, resources))


def resources_files(chance: random.Random) -> tuple[Iterator[bytes], Reader]:
    """Give resources files, each read together with a good project file."""
    project = read_project(PROJECT)
    return files(RESOURCES, read_resources, chance), file_reader(
        read_resources, lambda resources: nodes(project, resources)
    )


# --- XML of the user port -------------------------------------------------------------------------------------------

READERS: dict[str, Callable[[bytes], object]] = {
    "/COMPSs/startApplication": read_start,
    "/COMPSs/endApplication": read_end,
    "/COMPSs/addResources": read_new,
    "/COMPSs/removeResources": read_reduce,
    "/COMPSs/removeNode": lambda body: read_node(body, "removeNode"),
    "/COMPSs/lostNode": lambda body: read_node(body, "lostNode"),
}
ASKED_IN_XML = [(READERS[path], text) for path, texts in BODIES.items() for text in texts]


def assert_refused(problem: RequestError, statuses: frozenset[int]) -> None:
    """It is the sender's fault, in words that can be shown."""
    assert problem.status in statuses, problem
    assert_shown(problem)


def problem_of(read: Callable[[bytes], object], document: bytes, statuses: frozenset[int]) -> BaseException | None:
    """Read a body; give the refusal, which has one of the statuses."""
    try:
        read(document)
    except RequestError as problem:
        assert_refused(problem, statuses)
        return problem
    return None


def xml_bodies(chance: random.Random) -> tuple[Iterator[bytes], Reader]:
    """Give bodies below `/COMPSs`, each read by what reads its kind."""
    reading = ASKED_IN_XML[0][0]

    def documents() -> Iterator[bytes]:
        nonlocal reading
        while True:
            reading, text = chance.choice(ASKED_IN_XML)
            yield changed(text, XML_TOKENS, chance)

    return documents(), lambda document: problem_of(reading, document, frozenset({400}))


# --- JSON of the user port, and of a scheduler's file ---------------------------------------------------------------

SUBMISSION = {
    "function": "module:function",
    "args": [1, 2.5, "é", None, {"a": [True]}],
    "kwargs": {"x": {"y": [1]}},
    "constraints": {
        "computing_units": 2,
        "memory_mib": 10,
        "processors": [{"kind": "GPU", "units": 1, "name": "a100"}],
        "software": ["numpy"],
        "is_local": True,
    },
    "timeout_s": 1.5,
    "max_attempts": 2,
    "priority": -3,
    "idempotent": False,
    "name": "n",
    "on_failure": "RETRY",
    "callback": {"url": "https://example.org/told"},
    "key": "k-1",
}
BY_VALUE = {"function": "f", "code": "gASVBgAAAAAAAABLAS4=", "pickle": "gASVBgAAAAAAAABLAS4=", "on_orphan": "KEEP"}
PROGRAM = {"function": "program.py", "script": "print(1)", "args": ["a"]}
POLICY = {"alpha": 0.5, "name": "x", "is-on": True, "weights-by-kind": 3}


def read_all(body: bytes) -> None:
    """Read a batch and each operation in it."""
    for item in read_batch(body, 10):
        read_submission(item, OWNER, EVERYWHERE)


def read_policy(body: bytes) -> None:
    """Read a scheduler's file, whose error is the operator's."""
    try:
        configuration.read(body.decode("utf-8", "replace"))
    except configuration.ConfigurationError as error:
        raise RequestError(str(error).encode("unicode_escape").decode()) from error


ASKED_IN_JSON: tuple[tuple[Callable[[bytes], object], Any], ...] = (
    (lambda body: read_submission(body, OWNER, EVERYWHERE), SUBMISSION),
    (lambda body: read_submission(body, OWNER, EVERYWHERE, "key"), BY_VALUE),
    (lambda body: read_submission(body, Caller("guest", "submit"), EVERYWHERE), PROGRAM),
    (read_all, {"operations": [SUBMISSION, PROGRAM]}),
    (check_json, SUBMISSION),
    (read_policy, POLICY),
)


def replaced(tree: Any, chance: random.Random) -> Any:
    """Put something else at one place of a tree: in it, beside it, or instead of it."""
    odd = chance.choice((None, True, 0, -1, 2**70, 1.5, 1e300, "", "x" * 300, "\u202e", [], {}, [tree], {"a": tree}))
    if isinstance(tree, dict) and tree and chance.random() < 0.9:
        name = chance.choice(list(tree))
        if chance.random() < 0.1:
            return {(f"{name}s" if at == name else at): inner for at, inner in tree.items()}
        return {at: replaced(inner, chance) if at == name else inner for at, inner in tree.items()}
    if isinstance(tree, list) and tree and chance.random() < 0.8:
        at = chance.randrange(len(tree))
        return [*tree[:at], replaced(tree[at], chance), *tree[at + 1 :]]
    return odd


def json_bodies(chance: random.Random) -> tuple[Iterator[bytes], Reader]:
    """Give JSON as users send and write it, each read by what reads its kind, unless it is nested too deep."""
    texts = [json.dumps(tree).encode() for _, tree in ASKED_IN_JSON]
    reading = ASKED_IN_JSON[0][0]

    def documents() -> Iterator[bytes]:
        nonlocal reading
        while True:
            at = chance.randrange(len(texts))
            reading, tree = ASKED_IN_JSON[at]
            if chance.random() < 0.5:
                yield changed(texts[at], JSON_TOKENS, chance)
            else:
                yield json.dumps(replaced(tree, chance)).encode()

    def read(document: bytes) -> BaseException | None:
        if is_deeper(document, DEPTH_CAP):
            return RequestError("too deep")
        return problem_of(reading, document, frozenset({400, 403, 422}))

    return documents(), read


KINDS = (project_files, resources_files, xml_bodies, json_bodies)


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_document_is_read_or_refused(kind: Callable[..., Any], block: int) -> None:
    """However bytes, elements or values are changed: a value, or the one error of its kind in words to show."""
    documents, read = kind(random.Random(f"{kind.__name__} {block}"))
    count = DOCUMENTS // len(KINDS) // BLOCKS + 1
    accepted, refusals = outcomes(read, documents, count)
    assert count / 100 < accepted < count * 0.9, f"{accepted} of {count} were accepted: changed too much, or too little"
    assert len({str(error) for error in refusals}) > min(10, len(refusals) // 4)


@pytest.mark.parametrize(("reader", "text"), ASKED_IN_XML)
def test_the_bodies_in_xml_are_good_as_they_are(reader: Callable[[bytes], object], text: bytes) -> None:
    """So that a changed one is refused, if it is, by its change."""
    assert reader(text) is not None


def test_the_files_are_good_as_they_are() -> None:
    """Whole; and many of their parts can be read by themselves."""
    assert nodes(read_project(PROJECT), read_resources(RESOURCES))
    assert len(parts_of(PROJECT, read_project, random.Random(1))) > 10
    assert len(parts_of(RESOURCES, read_resources, random.Random(1))) > 5


# --- the checker can fail -------------------------------------------------------------------------------------------


def test_a_planted_fault_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lets another error out, or words that a terminal obeys, is told with the document."""
    documents, read = xml_bodies(random.Random(1))
    monkeypatch.setattr("agentd.rest.compss.documents.Problem", ValueError)
    with pytest.raises((ValueError, TypeError)) as caught:
        outcomes(read, documents, 200)
    assert any(note.startswith("document ") for note in caught.value.__notes__)
