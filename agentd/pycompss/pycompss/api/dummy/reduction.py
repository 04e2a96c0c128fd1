"""`reduction` without effect."""

from pycompss.api.dummy._decorator import Dummy

Reduction = Dummy
reduction = Dummy

__all__ = ["Reduction", "reduction"]
