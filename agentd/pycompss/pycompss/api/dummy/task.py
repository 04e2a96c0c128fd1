"""`task` without effect."""

from pycompss.api.dummy._decorator import Dummy

Task = Dummy
task = Dummy

__all__ = ["Task", "task"]
