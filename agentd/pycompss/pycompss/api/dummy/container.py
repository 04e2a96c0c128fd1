"""`container` without effect."""

from pycompss.api.dummy._decorator import Dummy

Container = Dummy
container = Dummy

__all__ = ["Container", "container"]
