"""Every scenario gives the transcript that stands in it.

AGENTD_REWRITE=1 writes the transcripts that they give now; the change is then read as prose, in the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.script import Stage, play

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_transcript_is_what_happens(script: Path) -> None:
    """What the agents want done in a scenario is what a reviewer has read and agreed to."""
    text = script.read_text()
    played = play(text)
    if os.environ.get("AGENTD_REWRITE"):
        script.write_text(played)
    assert played == text


def test_a_wrong_transcript_is_seen() -> None:
    """The comparison can fail."""
    text = "agents a:1\nsubmit a 1 'ok 1'\nrun until=quiet\n----\n0.00 a: nothing\n"
    assert play(text) != text


def test_there_are_scenarios() -> None:
    """No test passes because its scripts were not found."""
    assert len(SCRIPTS) >= 20
    assert Stage().said() == []
