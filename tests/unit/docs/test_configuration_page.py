"""The page on configuration tells of every setting what the code does with it."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agentd.daemon.settings import CONVERTERS, FILE_NAME, PREFIX, Settings, resolve

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "configuration.md").read_text("utf-8")
ROW = re.compile(r"^\| `--([\w-]+)` \| `(\w+)` \| (\S+) \| (.+?) \| (.+) \|$", re.MULTILINE)
ROWS = {row[1].replace("-", "_"): row.groups()[1:] for row in ROW.finditer(PAGE)}
"""By setting: variable, key in the file, default, meaning."""
NOT_IN_THE_FILE = {"state"}
"""The file lies in it."""
ABSENT = "*"
"""How a default begins that is no value: it says in words what holds."""


def _fields() -> dict[str, Any]:
    """Give each setting's default; `inspect.Parameter.empty` where it is worked out when an agent starts."""
    parameters = inspect.signature(Settings).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name not in {"origins", "remarks"}}


def _docstrings() -> dict[str, str]:
    (settings,) = (node for node in ast.parse(inspect.getsource(Settings)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: " ".join(said.value.value.split())
        for field, said in pairwise(settings.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
    }


def test_every_setting_is_on_the_page_and_no_other() -> None:
    """Page, settings and converters know the same names."""
    assert set(ROWS) == set(_fields()) == set(CONVERTERS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_setting_is_spelt_as_the_code_reads_it(name: str) -> None:
    """The variable and the key are those that are looked for; the meaning is the setting's docstring, and may go on."""
    variable, key, _, meaning = ROWS[name]
    assert variable == PREFIX + name.upper()
    assert key == ("-" if name in NOT_IN_THE_FILE else f"`{name}`")
    assert meaning.startswith(_docstrings()[name])


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_default_on_the_page_is_the_default(name: str) -> None:
    """A value on the page, read as if it had been given, is what holds without it; words stand where there is none."""
    said, default = ROWS[name][2], _fields()[name]
    if default in {None, ()} or default is inspect.Parameter.empty or name == "python_interpreter":
        assert said.startswith(ABSENT)
        return
    assert CONVERTERS[name](said.strip("`")) == default


def test_the_file_on_the_page_is_read(tmp_path: Path) -> None:
    """The example is a file that an agent takes, and every setting of it comes from there."""
    block = re.search(r"^```toml agentd\.toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    (tmp_path / FILE_NAME).write_text(block[1])
    found = resolve({"state": str(tmp_path)}, {})
    keys = set(re.findall(r"^(\w+) =", block[1], re.MULTILINE))
    assert keys
    assert {name for name, where in found.origins.items() if FILE_NAME in where} == keys
    assert found.parent == ("server=10.0.0.2:46102",)
    assert found.pythonpath == (Path("/srv/functions"), Path("/srv/models"))
    assert found.allow == ("math", "statistics")


def test_options_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    """The order is the one that the page gives."""
    (tmp_path / FILE_NAME).write_text("lease_s = 10\ngrace_s = 10\nspeed = 10\n")
    variables = {"AGENTD_LEASE_S": "20", "AGENTD_GRACE_S": "20"}
    found = resolve({"state": str(tmp_path), "lease_s": "30"}, variables)
    assert (found.lease_s, found.grace_s, found.speed) == (30, 20, 10)
