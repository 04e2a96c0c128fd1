"""Names of an agent's users, the same at every door."""

from __future__ import annotations

from typing import Final

LOCAL: Final = "local"
"""Programs of the agent's own user on its device, without a token."""
BY_TOKEN: Final = "token:"  # noqa: S105 - a prefix
"""Before the name of a token, for who has it."""
OWNER: Final = "default"
"""Name of the token that the agent keeps for the programs of its own user, in a file that nobody else can read."""
