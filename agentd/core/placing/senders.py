"""Whoever asks for tasks, by number: users and neighbours have one each, a session has that of its connection.

Law: a number stands for the same sender for as long as the agent runs; how many are told apart is bounded.
"""

from __future__ import annotations

PREFIX = "token:"
"""Before the names of users that have one."""
SENDERS_MOST = 10_000
"""Users and neighbours that are told apart (chosen: nobody can fill memory with invented names); more are one."""


class Senders:
    """Numbers of users and neighbours, below 0; 0 is whoever has none."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[bool, str], int] = {}
        self._names: dict[int, str] = {}

    def number(self, user: str, neighbour: str | None) -> int:
        """Give the number of a user of this agent, or of a neighbour."""
        key = (neighbour is not None, neighbour if neighbour is not None else user)
        number = self._numbers.get(key)
        if number is None:
            if not key[1] or len(self._numbers) >= SENDERS_MOST:
                return 0
            number = self._numbers[key] = -1 - len(self._numbers)
            self._names[number] = f"neighbour {key[1]}" if key[0] else f"user {key[1].removeprefix(PREFIX)}"
        return number

    def name(self, number: int) -> str:
        """Say who it is, for people."""
        if number > 0:
            return f"session {number}"
        return self._names.get(number, "others")
