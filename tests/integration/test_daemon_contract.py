"""The contract of the user port, held by a real daemon, with real workers and a real journal behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentd.daemon.trust.tokens import TokenBook
from tests.fakes import sample
from tests.fakes.rest_contract import RestContract

SCOPES = ("read", "submit", "code", "admin")
BLOCKING = """

import time


def hold(text="begun"):
    print(text, flush=True)
    time.sleep(600)
"""


class RealDoor:
    """The user port of a daemon, and a token of each scope."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self.url = url
        self._tokens = tokens

    def client(self, scope: str | None = None, **headers: str) -> httpx.Client:
        """Make a client with the token of a scope, or with none."""
        if scope is not None:
            headers["Authorization"] = f"Bearer {self._tokens[scope]}"
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)


class TestDaemon(RestContract):
    """A daemon keeps the contract that the fake keeps."""

    @pytest.fixture
    def door(self, start_agent: Callable[..., Any], tmp_path: Path) -> RealDoor:
        """Start a daemon whose users' folder holds the module of the contract."""
        folder = tmp_path / "functions"
        folder.mkdir()
        shutil.copy(sample.__file__, folder / "sample.py")
        with (folder / "sample.py").open("a") as file:
            file.write(BLOCKING)
        agent = start_agent("--pythonpath", str(folder), "--hostname", "here")
        book = TokenBook(agent.state)
        return RealDoor(agent.rest, {scope: book.add(scope, scope) for scope in SCOPES})
