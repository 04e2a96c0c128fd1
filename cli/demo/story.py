"""What the demo does, from the first agent's start to the last figure."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from agentd.model.figures import counted
from cli.demo import photograph
from cli.demo.agents import CHAIN, Chain
from cli.demo.figures import figures_of
from cli.demo.pieces import cut, gather, send
from cli.demo.screen import Silent, screen

if TYPE_CHECKING:
    from pathlib import Path

    from cli.demo.photograph import Pixels
    from cli.demo.pieces import Drawing, Piece
    from cli.demo.screen import Screen

SAMPLE = "china.jpg"
"""A photograph that is part of scikit-learn's wheel: the Summer Palace in Beijing, 640 by 427 pixels."""


def tell(folder: Path, picture: Path, *, is_json: bool) -> None:
    """Start the agents in `folder`, have the photograph drawn, stop them, and show what came of it.

    Raises:
        AgentdError: an agent did not start, or a piece could not be drawn.
    """
    shown = Silent() if is_json else screen()
    image, pieces, drawing = _draw(folder, shown)
    from cli.demo.picture import paint  # loads matplotlib

    paint(picture, image, drawing.pixels, pieces)
    figures = figures_of(pieces, drawing, picture)
    if is_json:
        sys.stdout.write(json.dumps(asdict(figures), indent=2) + "\n")
    else:
        shown.sum_up(figures)


def _draw(folder: Path, shown: Screen) -> tuple[Pixels, list[Piece], Drawing]:
    code = folder / "code"
    code.mkdir()
    shutil.copy(photograph.__file__, code)  # agents take functions from their users' folders only
    asked = CHAIN[0].name
    with Chain(folder, code) as chain:
        shown.say("Starting three agents on this machine, each knowing the next one only:")
        shown.say("  " + " → ".join(f"{member.name} ({counted(member.cores, 'core')})" for member in CHAIN))
        image = _sample()
        pieces = cut(image)
        chain.link()
        shown.say(f"Sending {len(pieces)} pieces of a photograph to {asked}, over REST.")
        send(chain.agents[asked], pieces)
        with shown.following(chain.agents, pieces) as look:
            drawing = gather(chain.agents[asked], pieces, look)
    return image, pieces, drawing


def _sample() -> Pixels:
    from sklearn.datasets import load_sample_image  # takes a second, in which the agents start

    image: Pixels = load_sample_image(SAMPLE)
    return image
