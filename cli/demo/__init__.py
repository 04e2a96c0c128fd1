"""`agentd demo`: three agents on this machine draw a photograph together, and it is shown what ran where."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.model.errors import AgentdError, ConfigError
from cli.processes import ending_in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED = {"numpy": "numpy", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
"""Modules of the extra `demo`, and the packages that bring them."""
PICTURE = "agentd-demo.png"
FAILED = 1


def run(*, json: bool = False, output: Path | None = None, keep: bool = False) -> int:
    """Run the demo; gives the exit code.

    Args:
        json: print the figures as JSON and nothing else.
        output: file of the picture; default: `agentd-demo.png` in the current folder.
        keep: leave the agents' folders, with their logs, and say where they are.

    Raises:
        ConfigError: the extra `demo` is not installed, or the picture cannot be written.
    """
    _check_installed()
    picture = _writable(output or Path(PICTURE))
    from cli.demo.story import tell  # loads NumPy, which was only now found to be there

    with ending_in_order(), _folder(keep=keep) as folder:
        try:
            tell(folder, picture, is_json=json)
        except ConfigError:
            raise
        except AgentdError as error:
            sys.stderr.write(f"agentd: the demo failed: {error}\n")
            return FAILED
        finally:
            if keep:
                sys.stderr.write(f"The agents' folders, with their logs, are in {folder}\n")
    return 0


def _check_installed() -> None:
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"the demo needs {', '.join(missing)}: install that with `{sys.executable} -m pip install "
            f"{' '.join(missing)}`, or in a copy of the source run `make demo`"
        )


def _writable(picture: Path) -> Path:
    """Find out before any work is done whether the picture can be written; an old one is not touched yet."""
    picture = picture.absolute()
    try:
        with picture.open("ab") as file:
            is_new = file.tell() == 0
    except OSError as error:
        words = f"the picture {picture} cannot be written: {error.strerror}: name another place with --output FILE"
        raise ConfigError(words) from error
    if is_new:
        picture.unlink()
    return picture


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """Give a folder that is removed at the end, unless it is to be kept."""
    if keep:
        yield Path(tempfile.mkdtemp(prefix="agentd-demo-"))
        return
    with tempfile.TemporaryDirectory(prefix="agentd-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)
