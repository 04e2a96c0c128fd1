"""As `pycompss.functions.elapsed_time`, under its older name."""

from pycompss.functions.elapsed_time import TIMEIT, TimeIT, TimeIt, timeit

__all__ = ["TIMEIT", "TimeIT", "TimeIt", "timeit"]
