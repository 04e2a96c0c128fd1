"""`constraint` without effect."""

from pycompss.api.dummy._decorator import Dummy

Constraint = Dummy
constraint = Dummy

__all__ = ["Constraint", "constraint"]
