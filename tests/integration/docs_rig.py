"""Pages that run as tests: their console blocks are typed into a terminal, and what comes back is compared.

In a block of `console` a line that begins with `$ ` is typed (on through lines that end in a backslash), and the lines
below it are what comes back. In these, `…` stands for anything in a line, and alone in a line for any lines. Blanks do
not count, nor do times, dates, sizes, and numbers of processes; ids and the ports that the page names may be others,
but must be the same ones throughout. A block of another language with a file's name behind it is that file.

Two remarks before a block loosen it: `<!-- numbers vary -->`, and `<!-- rows vary -->`, where the first line alone is
compared.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path

from tests.integration.daemon_rig import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 110
"""Above anything that is waited for, on a busy machine."""
COLUMNS = 120
END = "-- done --"
READY = " is ready: "

_BLOCK = re.compile(
    r"(?:^<!-- (?P<remark>[\w ]+) -->\n)?^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_ID = r"\b(?:\d{15,19}|agentd1_[a-z2-7]{60,})\b"
_LOOSE = re.compile(
    rf"(?P<any>…)|(?P<id>{_ID})"
    r"|(?P<time>\b\d+(?:\.\d+)? (?:µs|ms|s|min|h)\b(?: \d+ s\b)?)"
    r"|(?P<size>\b\d+(?:\.\d+)? (?:B|KiB|MiB|GiB)\b)"
    r"|(?P<date>\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b)"
    r"|(?P<pid>(?<=pid )\d+)|(?P<python>(?<=Python )3\.\d+\.\d+)"
)
_ANY_OF = {
    "any": ".*?",
    "time": r"\d+(?:\.\d+)? (?:µs|ms|s|min|h)(?: \d+ s)?",
    "size": r"\d+(?:\.\d+)? (?:B|KiB|MiB|GiB)",
    "date": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "pid": r"\d+",
    "python": r"3\.\d+\.\d+",
}


@dataclass
class Step:
    """One command of a page and what is to come back."""

    command: str
    expected: list[str]
    remark: str = ""

    @property
    def stays(self) -> bool:
        """Tell whether the command runs on while the next ones are typed: an agent that says that it is ready."""
        return any(READY in line for line in self.expected)


@dataclass
class Page:
    """A page's files and steps, in order."""

    files: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


def read_page(text: str) -> Page:
    """Take from a page what can be run."""
    page = Page()
    for block in _BLOCK.finditer(text):
        if block["language"] == "console":
            page.steps += _steps(block["text"], block["remark"] or "")
        elif block["file"]:
            page.files[block["file"]] = block["text"]
    return page


def _steps(text: str, remark: str) -> Iterator[Step]:
    lines = iter(text.splitlines())
    step: Step | None = None
    for line in lines:
        if not line.startswith("$ "):
            assert step is not None, f"output without a command: {line}"
            step.expected.append(line)
            continue
        if step is not None:
            yield step
        command = line[2:]
        while command.endswith("\\"):
            command = command[:-1] + next(lines)
        step = Step(command, [], remark)
    if step is not None:
        yield step


class Terminal:
    """A shell on a terminal of its own, in a home of its own, in which `agentd` and `python` are these here."""

    def __init__(self, home: Path, work: Path, ports: dict[str, str]) -> None:
        self._ports = ports
        self.ids: dict[str, str] = {}
        """Ids of the page, and those that really came."""
        self._rest = ""
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=slave,
            stderr=slave,
            cwd=work,
            env=_environment(home, ports),
            start_new_session=True,
        )
        os.close(slave)

    def type(self, step: Step) -> list[str]:
        """Type a command and give the lines that came back; one that stays is left when it has said its part."""
        command = self._real(step.command)
        end = "" if step.stays else f"; echo; echo '{END}'"
        line = f"{{ {command.removesuffix('&').rstrip()}; }} </dev/null{' &' if step.stays else end}\n"
        assert self._shell.stdin is not None
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()
        said = self._read_until(READY if step.stays else END)
        return [line for line in lines_of(said) if line != END]

    def _read_until(self, words: str) -> str:
        while words not in self._rest or not self._rest.endswith("\n"):
            heard, _, _ = select.select([self._master], [], [], PATIENCE_S)
            assert heard, f"no {words!r} within {PATIENCE_S} s, but:\n{self._rest}"
            self._rest += os.read(self._master, 1 << 16).decode("utf-8", "replace").replace("\r\n", "\n")
        said, self._rest = self._rest, ""
        return said

    def _real(self, text: str) -> str:
        """Put the ports and ids of this run in the place of the page's."""
        for documented, real in (self._ports | self.ids).items():
            text = text.replace(documented, real)
        return text

    def mismatch(self, step: Step, came: list[str]) -> str:
        """Say how what came differs from what the page promises; empty when it does not."""
        expected = [self._real(line) for line in lines_of("\n".join(step.expected))]
        if step.remark == "rows vary":
            expected, came = expected[:1], came[:1]
        names: list[str] = []
        pattern = "".join(self._pattern(line, step.remark, names) for line in expected)
        found = re.fullmatch(pattern, "".join(f"{line}\n" for line in came))
        if found is None:
            return "\n".join(["$ " + step.command, "the page says:", *expected, "what came:", *came])
        self.ids |= dict(zip(names, found.groups(), strict=True))
        return ""

    def _pattern(self, line: str, remark: str, names: list[str]) -> str:
        if line == "…":
            return r"(?:.*\n)*?"
        done, pattern = 0, ""
        for loose in _LOOSE.finditer(line):
            pattern += _literal(line[done : loose.start()], remark)
            done = loose.end()
            if loose.lastgroup != "id":
                pattern += _ANY_OF[loose.lastgroup or ""]
            elif loose[0] in self.ids.values():
                pattern += loose[0]
            elif loose[0] in names:
                pattern += rf"\{names.index(loose[0]) + 1}"
            else:
                names.append(loose[0])
                pattern += f"({_ID})"
        return pattern + _literal(line[done:], remark) + r"\n"

    def close(self) -> None:
        """End the shell and all that was started in it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._shell.pid, number)
            except ProcessLookupError:
                break
            if self._is_silent():
                break
        self._shell.wait()
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        os.close(self._master)

    def _is_silent(self) -> bool:
        """Read until nobody has the terminal open any more; false when somebody stays."""
        while select.select([self._master], [], [], PATIENCE_S)[0]:
            try:
                if not os.read(self._master, 1 << 16):
                    return True
            except OSError:  # how Linux says that a terminal's other end is closed
                return True
        return False


def _literal(text: str, remark: str) -> str:
    literal = re.escape(text)
    return re.sub(r"\d+", r"\\d+", literal) if remark == "numbers vary" else literal


def lines_of(text: str) -> list[str]:
    """Give the lines of an output as they are compared: no colours, no rules, single blanks, nothing empty."""
    plain = _ESCAPE.sub("", text)
    lines = (re.sub(r"\s+", " ", line.rpartition("\r")[2]).strip() for line in plain.split("\n"))
    return [line for line in lines if line.strip("─━ ")]


def free_ports(text: str) -> dict[str, str]:
    """Give a free port for each one that a page names."""
    named = sorted(set(re.findall(r"\b46\d{3}\b", text)) | {"46101", "46102"})
    return {name: str(free_port()) for name in named}


def _environment(home: Path, ports: dict[str, str]) -> dict[str, str]:
    programs = home / "bin"
    programs.mkdir()
    for name, words in (("agentd", "-m agentd"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "NO_COLOR": "1",
        "COLUMNS": str(COLUMNS),
        "PYTHONPATH": str(ROOT),
        "AGENTD_REST_PORT": ports["46101"],
        "AGENTD_COMM_PORT": ports["46102"],
        "AGENTD_GRACE_S": "0",
    }
