"""Laws of reading COMPSs' requests: what is written is read."""

import math

from hypothesis import given
from hypothesis import strategies as st

from agentd.api.routes.compss import start_application
from agentd.rest.compss import hooks
from agentd.rest.compss.documents import read_start
from agentd.rest.compss.hooks import Hooks
from tests.fakes.compss_samples import parameter, start, value

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
