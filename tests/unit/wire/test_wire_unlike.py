"""Whether code by value can be read at the other end."""

from __future__ import annotations

import pytest

from agentd.wire.messages import Hello
from agentd.wire.terms import unlike


@pytest.mark.parametrize(
    ("own", "theirs", "libraries", "words"),
    [
        ((3, 11), (3, 11), {"cloudpickle": "3.1"}, ""),
        ((3, 11), (3, 11), {}, ""),
        ((0, 0), (3, 12), {}, ""),
        ((3, 11), (0, 0), {"numpy": "2.0"}, ""),
        ((3, 11), (3, 12), {}, "it runs Python 3.12, this agent 3.11: code by value needs the same"),
        ((3, 11), (3, 11), {"numpy": "2.0"}, "it has no cloudpickle, which code by value needs"),
    ],
)
def test_the_reason_is_said(
    own: tuple[int, int], theirs: tuple[int, int], libraries: dict[str, str], words: str
) -> None:
    """Another minor version of Python, or no cloudpickle; what is not known is not held against anybody."""
    assert unlike(own, Hello(python=theirs, libraries=libraries)) == words
