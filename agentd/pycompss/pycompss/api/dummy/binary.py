"""`binary` without effect."""

from pycompss.api.dummy._decorator import Dummy

Binary = Dummy
binary = Dummy

__all__ = ["Binary", "binary"]
