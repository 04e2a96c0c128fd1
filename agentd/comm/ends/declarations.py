"""The templates that the other end of one link declared, and those of them that may not run here."""

from __future__ import annotations

from agentd.comm.ends.wiring import Wiring
from agentd.model.peers import Limits
from agentd.model.task import Form, Template
from agentd.model.values import Codec

TRUSTED = frozenset({"code", "admin", "peer"})
"""Scopes whose functions may come by value, and whose arguments may be pickled."""
SUBMITTING = TRUSTED | {"submit"}
HARMLESS = frozenset({int(Codec.NONE), int(Codec.JSON), int(Codec.BYTES)})
"""Codecs that run no code when they are read."""


class Declarations:
    """What one link declared.

    Attributes:
        refused: why calls of a template cannot be taken, by its number.
        lines: numbers of templates whose tasks serve sessions of a neighbour.
    """

    def __init__(self, scope: str, wiring: Wiring) -> None:
        self.refused: dict[int, str] = {}
        self.lines: set[int] = set()
        self._scope = scope
        self._wiring = wiring
        self._sizes: dict[int, int] = {}
        self._bytes = 0
        self._functions: dict[int, tuple[str, bool]] = {}
        """What each number calls, and whether by name alone."""

    def declare(self, templates: tuple[tuple[int, Template], ...]) -> tuple[tuple[int, Template], ...]:
        """Take note of templates, and give those that may run here."""
        admitted = []
        for number, template in templates:
            reason = self._objection(number, template)
            if reason is None:
                self.refused.pop(number, None)
                self._functions[number] = template.function, is_by_name(template)
                self.lines.discard(number)
                if template.is_line:
                    self.lines.add(number)
                admitted.append((number, template))
            elif number in self.refused or len(self.refused) < self._wiring.settings.templates:
                self.refused[number] = reason
        return tuple(admitted)

    def are_plain(self, numbers: set[int]) -> bool:
        """Tell whether calls of all these templates can be taken as they come: none is refused, or serves a session."""
        return self.lines.isdisjoint(numbers) and self.refused.keys().isdisjoint(numbers)

    def _objection(self, number: int, template: Template) -> str | None:
        if self._scope not in SUBMITTING:
            return f"scope {self._scope} may not submit: a token of scope submit is needed"
        if template.holds:
            return None if self._scope == "peer" else "only agents hold cores of each other, for tasks of several nodes"
        if template.is_line:
            return None if self._scope == "peer" else "a direct line is asked for by a message of its own"
        if self._scope not in TRUSTED and not is_harmless(template):
            return "a function by value, or pickled arguments, need scope code: name the function, send JSON"
        return self._wiring.admit(template) or self._overflow(number, template.code_bytes)

    def _overflow(self, number: int, size: int) -> str | None:
        settings = self._wiring.settings
        total = self._bytes - self._sizes.get(number, 0) + size
        if total > settings.templates_bytes:
            return f"this connection has declared {self._bytes} bytes of code already: connect anew"
        if number not in self._sizes and len(self._sizes) >= settings.templates:
            return f"this connection has declared {len(self._sizes)} templates already: connect anew"
        self._sizes[number], self._bytes = size, total
        return None

    def beyond(self, limits: Limits, number: int) -> str | None:
        """Tell why a template is beyond the limits that hold now; None if it is not."""
        function, is_by_name = self._functions.get(number, ("", False))
        return limits.forbids(function, is_by_name=is_by_name)


def is_harmless(template: Template) -> bool:
    """Tell whether neither the template nor its arguments can bring code along."""
    return template.form is not Form.TASK and is_by_name(template) and template.codec in HARMLESS


def is_by_name(template: Template) -> bool:
    """Tell whether the function is one of this agent's, and nothing of it came along."""
    return not template.code_bytes and template.form in {Form.NAME, Form.CHUNK, Form.TASK}
