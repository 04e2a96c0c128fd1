"""Laws of reading COMPSs' requests: whatever the body, a value or one problem with its place; what is written is read.

AGENTD_FUZZ_EXAMPLES sets how many mutated bodies are tried (100,000 takes minutes).
"""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.api.compss import start_application
from agentd.rest.compss import hooks
from agentd.rest.compss.documents import read_end, read_new, read_node, read_reduce, read_start
from agentd.rest.compss.hooks import Hooks
from agentd.rest.problems import Problem
from tests.fakes.compss_samples import ENDED, added, array, node, parameter, reduced, start, value
from tests.fakes.mutation import EXAMPLES, edits, mutated

ACTION = "<action><actionName>stop</actionName><forwardTo><agent>http://a:1</agent></forwardTo></action>"
TOLD = "<orchestrator><host>http://h</host><method>PUT</method><operation>x</operation></orchestrator>"
DOCUMENTS = [
    (
        read_start,
        start(
            parameter("STRING_64_T", value("Izc=")),
            parameter("INT_T", value("5", "int", "Integer")),
            parameter("DOUBLE_T", value("1.5", "double", "Double")),
            parameter("OBJECT_T", array(array(value("b")))),
            more=ACTION,
        ),
    ),
    (read_start, start(more=TOLD)),
    (read_new, added()),
    (read_new, added(properties="<MinPort>1</MinPort><MaxPort>2</MaxPort>").replace("externalR", "nioR")),
    (read_reduce, reduced()),
    (lambda body: read_node(body, "lostNode"), node("lostNode")),
    (read_end, ENDED),
]
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
PATIENT = pytest.mark.timeout(max(120, EXAMPLES // 20))


def problem_of(at, changes):
    """Read a mutated document; give the problem, or None when it is accepted."""
    reader, text = DOCUMENTS[at]
    try:
        reader(mutated(text.encode(), changes))
    except Problem as problem:
        return problem
    return None


@pytest.mark.parametrize("at", range(len(DOCUMENTS)))
def test_the_documents_are_good_as_they_are(at):
    """So that a mutated one fails, if it does, by its mutation."""
    reader, text = DOCUMENTS[at]
    assert reader(text.encode()) is not None


@PATIENT
@FUZZ
@given(at=st.integers(0, len(DOCUMENTS) - 1), changes=edits)
def test_a_mutated_body_is_read_or_refused(at, changes):
    """However its bytes are changed, nothing but a 400 is raised, and it says where and what to do."""
    problem = problem_of(at, changes)
    if problem is not None:
        assert problem.status == 400
        assert str(problem).isprintable()
        assert len(str(problem)) < 4000


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,20}", fullmatch=True)


@given(module=names, method=names, words=st.lists(texts, max_size=5), as_array=st.booleans())
def test_every_text_reaches_the_function(module, method, words, as_array):
    """What the command writes, the door reads: any characters, none at all, one by one or as a list."""
    request = start_application(module, method, words, as_array=as_array)
    asked = read_start(request.body)
    assert (asked.module, asked.method) == (module, method)
    assert asked.arguments == ((words,) if as_array else tuple(words))


@given(number=st.floats() | st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_number_reaches_the_function(number):
    """Floats with all their digits, infinities and what is no number; integers of 64 bits."""
    if isinstance(number, float):
        shown = {math.inf: "INF", -math.inf: "-INF"}.get(number, "NaN" if math.isnan(number) else repr(number))
        text = parameter("DOUBLE_T", value(shown, "double", "Double"))
    else:
        text = parameter("LONG_T", value(str(number), "long", "Long"))
    (found,) = read_start(start(text).encode()).arguments
    assert type(found) is type(number)
    assert found == number or (math.isnan(found) and math.isnan(number))


@given(stops=st.booleans(), agents=st.lists(texts.filter(bool), max_size=3), notify=texts)
def test_hooks_come_back_as_they_were(stops, agents, notify):
    """Whatever is in the addresses."""
    asked = Hooks(stops, tuple(agents), notify)
    assert hooks.read(hooks.written(asked)) == asked
