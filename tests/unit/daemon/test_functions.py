"""Which functions may be called: found by reading, never by importing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentd.daemon.users.functions import Functions
from agentd.model.task import Form, Template

SOURCE = """
import os
from functools import partial

raise SystemExit("whoever imports this ends")


def public(): ...
def größe(): ...
def _private(): ...
async def later(): ...


if os.name:
    def conditional(): ...


class Shop:
    def price(self): ...
    def _cost(self): ...


bound = partial(public)
number = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module, a package, and a site-packages below it."""
    (tmp_path / "shop.py").write_text(SOURCE)
    package = tmp_path / "pack" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("def top(): ...\n")
    (package / "__init__.py").write_text("")
    (package / "deep.py").write_text("def below(): ...\n")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "foreign.py").write_text("def f(): ...\n")
    return tmp_path


@pytest.mark.parametrize(
    "function",
    ["shop:public", "shop:größe", "shop:later", "shop:conditional", "shop:Shop", "shop:Shop.price", "shop:bound",
     "pack:top", "pack.inner.deep:below"],
)  # fmt: skip
def test_public_functions_of_users_modules_may_be_called(folder: Path, function: str) -> None:
    """Functions, classes, methods, what is bound to a call or stands under `if`; twice, since it is remembered."""
    functions = Functions([folder], [])
    assert functions.objection(Template(function)) is None
    assert functions.objection(Template(function)) is None


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("shop:absent", "it defines"),
        ("shop:pubilc", "did you mean public? It defines: Shop, "),
        ("shopp:public", "did you mean shop?"),
        ("pack.iner:f", "did you mean pack.inner?"),
        ("shop:_private", "private"),
        ("shop:Shop._cost", "private"),
        ("shop:number", "no public function"),
        ("shop:partial", "no public function"),
        ("site-packages.foreign:f", "package.module:function"),
        ("foreign:f", "--pythonpath"),
        ("os:system", "--allow os"),
        ("shop", "package.module:function"),
        ("../shop:public", "package.module:function"),
        ("shop:public()", "package.module:function"),
    ],
)
def test_all_else_is_refused_with_what_to_do(folder: Path, function: str, words: str) -> None:
    """Each refusal names its reason."""
    reason = Functions([folder], []).objection(Template(function))
    assert reason is not None
    assert words in reason


def test_a_module_that_is_no_python_is_refused_with_the_line(folder: Path) -> None:
    """Whoever wrote it is told of the mistake, not that it defines nothing."""
    (folder / "shop.py").write_text("x = 1\ndef public(:\n")
    reason = Functions([folder], []).objection(Template("shop:public"))
    assert reason is not None
    assert reason.startswith("shop cannot be read: ")
    assert "shop.py, line 2: " in reason


def test_of_a_module_with_many_functions_some_are_named(folder: Path) -> None:
    """And it is said how many more there are."""
    (folder / "shop.py").write_text("".join(f"def price{number}(): ...\n" for number in range(40)))
    reason = Functions([folder], []).objection(Template("shop:cost")) or ""
    assert reason.endswith("price15, price16, price17 and 30 more"), reason


def test_a_changed_file_is_read_again(folder: Path) -> None:
    """What was found before is looked for anew once the file has changed, or is gone."""
    functions = Functions([folder], [])
    assert functions.objection(Template("shop:public")) is None
    (folder / "shop.py").write_text("def other(): ...\n")
    assert functions.objection(Template("shop:public")) is not None
    assert functions.objection(Template("shop:other")) is None
    (folder / "shop.py").unlink()
    assert functions.objection(Template("shop:other")) is not None


def test_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A module that lies elsewhere is not users' code, whatever the link says."""
    outside = tmp_path_factory.mktemp("outside") / "secret.py"
    outside.write_text("def f(): ...\n")
    (folder / "secret.py").symlink_to(outside)
    assert Functions([folder], []).objection(Template("secret:f")) is not None


def test_allowed_modules_and_carried_code_need_no_file(folder: Path) -> None:
    """A module that the operator named, with all below it, and code that is sent along."""
    functions = Functions([folder], ["json"])
    assert functions.objection(Template("json:loads")) is None
    assert functions.objection(Template("json.decoder:JSONDecoder")) is None
    assert functions.objection(Template("jsonx:loads")) is not None
    assert functions.objection(Template("<lambda>", form=Form.VALUE, code=b"x")) is None


def test_modules_are_listed_for_neighbours(folder: Path) -> None:
    """Modules of the folders with their packages, and the allowed ones; nothing of a site-packages."""
    listed = Functions([folder], ["json"]).modules()
    assert listed == {"shop", "pack", "pack.inner", "pack.inner.deep", "json"}


def test_what_cannot_be_looked_at_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of another user among the modules, as in /tmp, keeps nothing else from being found."""
    (folder / "locked").mkdir()
    stat = os.stat

    def refused(path: os.PathLike[str], *more: object, **options: object) -> os.stat_result:
        if "locked/" in os.fspath(path):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return stat(path, *more, **options)

    monkeypatch.setattr(os, "stat", refused)
    functions = Functions([folder], [])
    assert functions.modules() == {"shop", "pack", "pack.inner", "pack.inner.deep"}
    assert "no module 'locked.inside'" in str(functions.objection(Template("locked.inside:f")))
