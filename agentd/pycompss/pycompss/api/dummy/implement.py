"""`implement` without effect."""

from pycompss.api.dummy._decorator import Dummy

Implement = Dummy
implement = Dummy

__all__ = ["Implement", "implement"]
