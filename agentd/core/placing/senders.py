"""Whoever asks for tasks, by number: users and neighbours have one each; a session is its user's.

Law: a number stands for the same sender for as long as the agent runs, by whatever door and over however many
connections it comes; how many are told apart is bounded.
"""

from __future__ import annotations

from collections import deque

from agentd.model.users import BY_TOKEN, LOCAL, OWNER

SENDERS_MOST = 10_000
"""Users and neighbours that are told apart (chosen: nobody can fill memory with invented names); more are one."""
LEFT_MOST = 1000
"""Sessions that have left whose user is still known, for what they asked for to outlive them (chosen)."""


class Senders:
    """Numbers of users and neighbours, below 0; 0 is whoever has none."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[bool, str], int] = {}
        self._names: dict[int, str] = {}
        self.of_sessions: dict[int, int] = {}
        """Numbers of users by those of their sessions."""
        self._users: dict[int, str] = {}
        """Users by the numbers of their sessions, as they are written down."""
        self._left: deque[int] = deque()

    def join(self, session: int, user: str) -> None:
        """A session is a user's."""
        if user and session not in self._users:
            self._users[session] = user
            self.of_sessions[session] = self.number(user, None)

    def leave(self, session: int) -> None:
        """A session has ended; what it asked for may go on."""
        if session in self._users:
            self._left.append(session)
            if len(self._left) > LEFT_MOST:
                gone = self._left.popleft()
                del self._users[gone], self.of_sessions[gone]

    def user(self, session: int) -> str:
        """Say whose a session is; empty where nobody can tell."""
        return self._users.get(session, "")

    def number(self, user: str, neighbour: str | None) -> int:
        """Give the number of a user of this agent, or of a neighbour; its own user has one, by token or not."""
        if neighbour is None and user == BY_TOKEN + OWNER:
            user = LOCAL
        key = (neighbour is not None, neighbour if neighbour is not None else user)
        number = self._numbers.get(key)
        if number is None:
            if not key[1] or len(self._numbers) >= SENDERS_MOST:
                return 0
            number = self._numbers[key] = -1 - len(self._numbers)
            self._names[number] = f"neighbour {key[1]}" if key[0] else f"user {key[1].removeprefix(BY_TOKEN)}"
        return number

    def name(self, number: int) -> str:
        """Say who it is, for people."""
        if number > 0:
            return f"session {number}"
        return self._names.get(number, "others")
