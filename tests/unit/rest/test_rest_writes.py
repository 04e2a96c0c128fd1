"""How the parts of an answer leave."""

from __future__ import annotations

import pytest

from agentd.rest.serving.protocol import HeadWithBody

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"{}"


class Ends:
    """A transport and its loop, which write down what they are asked."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.later: list[object] = []
        self.is_closed = False
        self.answer = HeadWithBody(self, self)

    def write(self, data: bytes) -> None:
        """Take what is sent."""
        assert not self.is_closed
        self.sent.append(data)

    def call_soon(self, act: object) -> None:
        """Take note."""
        self.later.append(act)

    def is_closing(self) -> bool:
        """Tell."""
        return self.is_closed

    def close(self) -> None:
        """Hang up."""
        self.is_closed = True

    def step(self) -> None:
        """Go on to the next step of the loop."""
        later, self.later = self.later, []
        for act in later:
            act()


def test_a_head_and_its_body_are_one_write() -> None:
    """What follows at once leaves with the head, in order and whole."""
    ends = Ends()
    ends.answer.write(HEAD)
    ends.answer.write(BODY)
    assert ends.sent == [HEAD + BODY]
    ends.step()
    ends.answer.write(BODY)
    assert ends.sent == [HEAD + BODY, BODY]


def test_a_head_that_nothing_follows_leaves_by_itself() -> None:
    """The reader of a stream learns that it has begun; what comes later is not held."""
    ends = Ends()
    ends.answer.write(HEAD)
    ends.step()
    assert ends.sent == [HEAD]
    ends.answer.write(BODY)
    assert ends.sent == [HEAD, BODY]


def test_a_large_body_is_not_copied() -> None:
    """It is written as it is, behind its head."""
    ends = Ends()
    body = bytes(1 << 20)
    ends.answer.write(HEAD)
    ends.answer.write(body)
    assert [len(data) for data in ends.sent] == [len(HEAD), len(body)]
    assert ends.sent[1] is body


@pytest.mark.parametrize("by_us", [True, False])
def test_an_end_loses_nothing_that_may_still_be_sent(by_us: bool) -> None:
    """Who hangs up after a head alone has sent it; on a connection that the client closed nothing is written."""
    ends = Ends()
    ends.answer.write(HEAD)
    if by_us:
        ends.answer.close()
        assert ends.sent == [HEAD]
    else:
        ends.close()
    ends.step()
    assert ends.is_closed
    assert ends.answer.is_closing()
    assert ends.sent == ([HEAD] if by_us else [])
