"""Which versions are installed of the libraries whose pickles other versions may not read; also a program that says so.

Found by the names of folders beside the modules (PEP 376, PEP 427): nothing is imported.
"""

from __future__ import annotations

import json
import os
import re
import sys

LIBRARIES = frozenset(
    ("cloudpickle", "numpy", "pandas", "polars", "pyarrow", "scikit-learn", "scipy", "tensorflow", "torch", "xarray")
)
"""Those that travel in arguments and results most often (chosen), and cloudpickle, which reads functions by value."""
_INSTALLED = re.compile(r"([A-Za-z0-9_.-]+?)-([0-9][A-Za-z0-9.+!]*)(?:-py[0-9.]+)?\.(?:dist|egg)-info")


def installed(folders: list[str]) -> dict[str, str]:
    """Give the versions of the libraries that a Python with this path would load: the first folder counts."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder or os.curdir)
        except OSError:
            continue
        for name in names:
            matched = _INSTALLED.fullmatch(name)
            if matched is not None:
                library = matched[1].lower().replace("_", "-")
                if library in LIBRARIES:
                    found.setdefault(library, matched[2])
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"python": sys.version_info[:2], "libraries": installed(sys.path[1:])}))
