"""PyCOMPSs' names for the programming model of agentd: programs that were written for it run here unchanged.

The folder above this package is put last on the module path of workers, and of programs in an environment where agentd
is installed: where there is a real PyCOMPSs, that one is found first.
"""
