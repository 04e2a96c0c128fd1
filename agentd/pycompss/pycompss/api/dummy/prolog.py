"""`prolog` without effect."""

from pycompss.api.dummy._decorator import Dummy

Prolog = Dummy
prolog = Dummy

__all__ = ["Prolog", "prolog"]
