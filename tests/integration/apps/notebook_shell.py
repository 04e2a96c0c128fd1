"""Cells of a notebook with IPython's magics, run by its shell as a kernel does."""

import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

CELLS = """
import pycompss.interactive as ipycompss
from pycompss.api.task import task
from pycompss.api.api import compss_barrier, compss_wait_on
ipycompss.start()
#%%
@task(returns=int)
def f(x):
    print("in f", x)
    return x + N
N = 5
#%%
%%time
a = compss_wait_on(f(1))
#%%
print("a", a)
#%%
%%capture kept
b = compss_wait_on(f(2))
#%%
print("kept", kept.stdout.split(), b)
#%%
%%writefile of_the_notebook.py
from pycompss.api.task import task
@task(returns=int)
def g(x):
    print("in g", x)
    return 2 * x
#%%
import of_the_notebook
print("g", compss_wait_on(of_the_notebook.g(4)))
#%%
%%timeit -n 1 -r 1
compss_wait_on(f(3))
#%%
later = f(4)
compss_barrier()
#%%
later
#%%
print(later)
#%%
%reset_selective -f ^a$
%time print("c", compss_wait_on(f(5)))
#%%
ipycompss.stop(sync=True)
print("later", later)
"""

if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))  # as a kernel does
    shell = InteractiveShell.instance(colors="NoColor")
    for cell in CELLS.split("#%%\n"):
        done = shell.run_cell(cell.strip("\n"), store_history=True)
        if done.error_before_exec or done.error_in_exec:
            sys.exit(f"in {cell!r}")
