"""What the Python of users' code is found to be."""

from __future__ import annotations

import sys
from pathlib import Path

import cloudpickle
import pytest

from agentd.workers.inside.versions import installed
from agentd.workers.interpreters import describe


def test_our_own_python_is_known_without_asking_it() -> None:
    """Its minor version, and the library that reads functions by value."""
    found = describe(sys.executable)
    assert found.python == sys.version_info[:2]
    assert found.libraries["cloudpickle"] == cloudpickle.__version__


def test_another_python_is_asked(tmp_path: Path) -> None:
    """By its path; a link to this one says the same of itself."""
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    found = describe(str(other))
    assert found.python == sys.version_info[:2]
    assert found.libraries["cloudpickle"] == cloudpickle.__version__


@pytest.mark.parametrize("said", ["exit 3", "echo rubbish", "echo '{}'", 'echo \'{"python": 3, "libraries": {}}\''])
def test_a_python_that_says_nothing_sensible_is_not_known(tmp_path: Path, said: str) -> None:
    """The agent starts all the same, and nobody holds it against it."""
    other = tmp_path / "python"
    other.write_text(f"#!/bin/sh\n{said}\n")
    other.chmod(0o755)
    assert describe(str(other)) == ((0, 0), {})
    assert describe(str(tmp_path / "nothing")) == ((0, 0), {})


def test_the_first_folder_of_the_path_counts(tmp_path: Path) -> None:
    """As for imports; other libraries, and other files, are passed over."""
    for folder, names in (
        ("first", ("numpy-2.1.0.dist-info", "scikit_learn-1.4.2.dist-info", "numpy", "secret-1.0.dist-info")),
        ("second", ("numpy-1.26.4.dist-info", "pandas-2.2.2-py3.11.egg-info", "torch-2.3.0+cpu.dist-info")),
    ):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
    found = installed([str(tmp_path / "first"), str(tmp_path / "gone"), str(tmp_path / "second")])
    assert found == {"numpy": "2.1.0", "scikit-learn": "1.4.2", "pandas": "2.2.2", "torch": "2.3.0+cpu"}
