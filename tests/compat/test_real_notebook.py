"""A notebook in a real kernel, run as `jupyter nbconvert --execute` does: tasks run on an agent that it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, agent_environment

nbclient = pytest.importorskip("nbclient", reason="make compat installs nbclient")
nbformat = pytest.importorskip("nbformat", reason="make compat installs nbformat")
pytest.importorskip("ipykernel", reason="make compat installs ipykernel")

pytestmark = pytest.mark.timeout(300)

CELLS = """
import os
import numpy as np
import pycompss.interactive as ipycompss
ipycompss.start(graph=True, monitor=1000)
#%%
from pycompss.api.task import task
from pycompss.api.parameter import INOUT
from pycompss.api.api import compss_barrier, compss_wait_on
#%%
K = 3
@task(returns=1)
def work(n):
    print('in work', n)
    return n * K, os.getpid()
#%%
found = compss_wait_on([work(n) for n in range(4)])
#%%
[n for n, _ in found], os.getpid() in [pid for _, pid in found]
#%%
@task(block=INOUT)
def grow(block):
    block += 1
block = np.zeros(200_000)
grow(block); grow(block)
#%%
block = compss_wait_on(block)
block[0] = 9
block.sum(), block.flags.writeable
#%%
ipycompss.tasks_info()
#%%
print(ipycompss.tasks_status())
#%%
print(ipycompss.statistics())
#%%
ipycompss.complete_task_graph()
#%%
ipycompss.current_task_graph(timeout=1)
#%%
ipycompss.resource_status()
#%%
@task(returns=1)
def bad():
    raise KeyError('of the cell')
print(compss_wait_on(bad()))
#%%
left = work(10)
ipycompss.stop(sync=True)
left[0]
"""


def _ran(folder: Path) -> list[Any]:
    """Run the cells one after another; gives what each has shown."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS.strip().split("\n#%%\n")])
    environment = agent_environment(
        PYTHONPATH=f"{ROOT}:{ROOT / 'agentd' / 'pycompss'}",
        AGENTD_STATE=str(folder / "none"),
        IPYTHONDIR=str(folder / "ipython"),
        JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
    )
    client = nbclient.NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}})
    client.execute(env=environment)
    return [cell.outputs for cell in book.cells]


def _text(outputs: list[Any], kind: str = "text/plain") -> str:
    return "".join(out.get("text", "") or out.get("data", {}).get(kind, "") for out in outputs)


def test_a_notebook_runs_its_cells_on_an_agent(tmp_path: Path) -> None:
    """Values, arrays that can be written, what tasks print, tables, pictures: in the cells that asked for them."""
    shown = _ran(tmp_path)
    assert "an agent of this notebook" in _text(shown[0])
    assert sorted(_text(shown[3]).split("\n")) == ["", *(f"in work {n}" for n in range(4))]
    assert _text(shown[4]) == "([0, 3, 6, 9], False)"
    assert _text(shown[6]).replace("np.float64(400007.0)", "400007.0") == "(400007.0, True)"
    info = _text(shown[7], "text/html")
    assert "<table><tr><th>function</th>" in info
    assert ":work</td><td>4</td><td>4</td>" in info
    assert _text(shown[8]).split() == ["state", "tasks", "done", "6"]
    assert _text(shown[9]).split()[:3] == ["agent", "tasks", "seconds"]
    for cell, boxes in ((10, 6), (11, 0)):
        assert _text(shown[cell], "image/svg+xml").count("<title>") == boxes
    assert "<table>" in _text(shown[12], "text/html")
    assert "None" in _text(shown[13])
    assert "KeyError" in _text(shown[13])
    assert _text(shown[14]).splitlines()[-1] == "30"
