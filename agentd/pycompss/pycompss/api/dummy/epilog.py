"""`epilog` without effect."""

from pycompss.api.dummy._decorator import Dummy

Epilog = Dummy
epilog = Dummy

__all__ = ["Epilog", "epilog"]
