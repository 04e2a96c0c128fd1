"""The layers of pyproject.toml, which the linter of imports enforces, leave nothing out."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from tests.architecture.source_tree import PRODUCT, ROOT

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONTRACTS: list[dict[str, Any]] = PYPROJECT["tool"]["importlinter"]["contracts"]


def _layered() -> set[str]:
    [layers] = [found["layers"] for found in CONTRACTS if found["type"] == "layers" and "containers" not in found]
    return {module for layer in layers for module in re.findall(r"[\w.]+", layer)}


def _parts() -> set[str]:
    """Name what stands directly below `agentd`, and the other packages."""
    inside = [path for path in (ROOT / "agentd").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return {f"agentd.{path.stem}" for path in inside} - {"agentd.__init__"} | set(PRODUCT) - {"agentd"}


def test_every_part_stands_in_a_layer() -> None:
    """A new package, or a module beside them, is given its place before anybody may import it."""
    assert _parts() - _layered() == set()


def test_the_wheel_holds_the_packages_that_are_checked() -> None:
    """What is installed, what the types are checked of, and what the layers are about is the same."""
    tool = PYPROJECT["tool"]
    assert tool["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PRODUCT)
    assert tool["mypy"]["files"] == list(PRODUCT)
    assert tool["importlinter"]["root_packages"] == list(PRODUCT)


def test_the_pure_half_is_one_thing() -> None:
    """What may do no I/O is just what is measured for coverage."""
    [pure] = [contract["source_modules"] for contract in CONTRACTS if "pure half" in contract["name"]]
    assert sorted(PYPROJECT["tool"]["coverage"]["run"]["source"]) == sorted(pure)


def test_all_that_users_processes_load_is_light() -> None:
    """Whatever of us users' programs import is held to importing nothing of the daemon."""
    [held] = [contract["source_modules"] for contract in CONTRACTS if "Users' processes" in contract["name"]]
    assert sorted(held) == sorted({"agentd.api", "agentd.pycompss"} & _parts())


def test_every_package_says_that_it_is_typed() -> None:
    """Programs that import us are checked against our annotations."""
    assert [name for name in PRODUCT if not (ROOT / name / "py.typed").exists()] == []


def test_what_tests_share_is_imported_under_one_name() -> None:
    """By its place below the root: under a second name it would be loaded twice, with two of each of its objects."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if "apps" not in path.parts]
    shared = {path.stem for path in tests if not path.name.startswith("test_")} - {"conftest"}
    bare = re.compile(r"^\s*(?:from (\w+) import|import (\w+))", re.MULTILINE)
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in tests
        for names in bare.findall(path.read_text("utf-8"))
        for name in names
        if name in shared or name.startswith("test_")
    ]
    assert found == [], "write from tests.FOLDER.NAME import …"
