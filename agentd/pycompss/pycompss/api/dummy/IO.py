"""`io` without effect."""

from pycompss.api.dummy._decorator import Dummy

IO = Dummy
io = Dummy

__all__ = ["IO", "io"]
