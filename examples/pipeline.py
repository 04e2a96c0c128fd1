"""A pipeline in two stages that may be broken off and started again without doing anything twice.

    agentd start --pythonpath examples        # in one terminal
    python examples/pipeline.py today         # in another one; then once more

Each step has an idempotency key. Whoever submits it again, after a crash of this script, of the network or of the
agent, gets the operation that is there already, and its result if it has ended.
"""

from __future__ import annotations

import sys

from agentd.api import Agent, TaskFailed, connect

WIDTH = 20_000
COUNT = 6


def main(run: str) -> None:
    """Count primes in blocks, then look closer at the block that has the most for its size."""
    with connect() as agent:
        blocks = [range(start, start + WIDTH) for start in range(0, COUNT * WIDTH, WIDTH)]
        counted = [_step(agent, f"{run}/count/{block.start}", block) for block in blocks]
        results = [_result(agent, operation) for operation in counted]
        best = max(zip(results, blocks, strict=True), key=lambda pair: pair[0])[1]
        halves = [best[: WIDTH // 2], best[WIDTH // 2 :]]
        closer = [_step(agent, f"{run}/closer/{half.start}", half) for half in halves]
        for half, operation in zip(halves, closer, strict=True):
            print(f"{_result(agent, operation)} primes from {half.start} to {half.stop}")


def _step(agent: Agent, key: str, block: range) -> str:
    """Submit one step, or find it if it was submitted before, and say how it stands."""
    operation = agent.submit("primes:count", (block.start, block.stop), key=key, name=key)
    print(f"{key}: {operation.state}")
    return operation.id


def _result(agent: Agent, operation: str) -> int:
    """Wait for a step; a step that failed ends the pipeline with the reason."""
    try:
        return int(agent.result(operation))
    except TaskFailed as error:
        sys.exit(f"a step failed: {error.kind}: {error}\n{error.traceback}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "first")
