"""A census of Python's own standard library: maps a function of this script over real files, on any cores there are.

    agentd start                              # in one terminal
    python examples/census.py                 # in another one

The agent needs to know nothing of this script: functions that it cannot import travel with the calls.
"""

from __future__ import annotations

import ast
import sysconfig
from collections import Counter
from pathlib import Path

from agentd.api import AgentExecutor

PACKAGES = ("asyncio", "concurrent", "email", "http", "importlib", "json", "logging", "multiprocessing", "unittest")
LONGEST = 3


def measure(source: str) -> tuple[int, list[tuple[int, str]]]:
    """Count the lines of a module, and list its functions, the longest first, with their lengths."""
    functions = [
        ((node.end_lineno or node.lineno) - node.lineno + 1, node.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return source.count("\n"), sorted(functions, reverse=True)


def main() -> None:
    """Measure every module of some packages and add up."""
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(file for package in PACKAGES for file in (library / package).rglob("*.py"))
    lines: Counter[str] = Counter()
    found = []
    with AgentExecutor() as agents:
        results = agents.map(measure, (file.read_text("utf-8") for file in files))
        for file, (count, functions) in zip(files, results, strict=True):
            lines[file.relative_to(library).parts[0]] += count
            found += [(length, f"{file.relative_to(library)}: {name}") for length, name in functions]
    print(f"{len(files)} files, {len(found)} functions, {lines.total()} lines")
    for package, count in lines.most_common(LONGEST):
        print(f"  {package} has {count} lines")
    for length, name in sorted(found, reverse=True)[:LONGEST]:
        print(f"  {length} lines in {name}")


if __name__ == "__main__":
    main()
