"""Cells of a notebook, run one after another as a kernel does: each on its own, with the errors of each printed."""

import sys
import types

CELLS = """
import pycompss.interactive as ipycompss
from pycompss.api.task import task
from pycompss.api.api import TaskGroup, compss_wait_on
ipycompss.start(graph=True, trace=False, monitor=1000, debug=True, log_level="debug", project_xml=None)
#%%
N = 5
@task(returns=int)
def f(x):
    return x + shifted()
def shifted():
    return N
#%%
a = [f(i) for i in range(3)]
#%%
1 / 0
#%%
print(compss_wait_on(a))
#%%
N = 50
print(compss_wait_on(f(1)))
#%%
def shifted():
    return 1000
print(compss_wait_on(f(1)))
#%%
class P:
    def __init__(self):
        self.v = 0
    @task()
    def inc(self):
        self.v += 1
p = P()
p.inc()
p.inc()
print(compss_wait_on(p).v)
#%%
@task(returns=int)
def bad(x):
    raise KeyError("cell")
print(compss_wait_on(bad(1)))
#%%
with TaskGroup("g"):
    b = [f(i) for i in range(2)]
print(compss_wait_on(b))
left = f(3)
#%%
ipycompss.stop(sync=True)
print(left, ipycompss.is_running())
#%%
ipycompss.start()
print(compss_wait_on(f(2)), ipycompss.is_running())
ipycompss.stop()
"""

if __name__ == "__main__":
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    for number, cell in enumerate(CELLS.split("#%%")):
        try:
            exec(compile(cell, f"<cell {number}>", "exec"), vars(main))
        except Exception as error:  # noqa: BLE001 - that is what a kernel does
            print(type(error).__name__)
