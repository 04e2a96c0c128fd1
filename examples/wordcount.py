"""Counts the words of many files: a task for each file, and a tree of tasks that adds the counts up.

python examples/wordcount.py docs/*.md               # in place
agentd call examples/wordcount.py $PWD/docs/*.md     # on the agent of this device
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

from agentd.api import FILE_IN, INOUT, task, wait_on

SHOWN = 5


@task(path=FILE_IN, returns=Counter)
def counted(path: str) -> Counter[str]:
    """Count the words of one file."""
    return Counter(re.findall(r"[a-z]{3,}", Path(path).read_text("utf-8").lower()))


@task(into=INOUT)
def add(into: Counter[str], more: Counter[str]) -> None:
    """Add counts to counts, in place."""
    into.update(more)


def main(paths: list[str]) -> None:
    """Count, add up in pairs, say the commonest."""
    counts = [counted(path) for path in paths]
    step = 1
    while step < len(counts):
        for place in range(0, len(counts) - step, 2 * step):
            add(counts[place], counts[place + step])
        step *= 2
    total = wait_on(counts[0]) if counts else Counter()
    print(f"{len(paths)} files, {sum(total.values())} words, {len(total)} different")
    for word, count in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]:
        print(f"{count:7} {word}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("name the files to count: wordcount.py FILE ...")
    main(sys.argv[1:])
