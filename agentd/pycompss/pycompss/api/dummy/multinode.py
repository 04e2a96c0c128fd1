"""`multinode` without effect."""

from pycompss.api.dummy._decorator import Dummy

Multinode = Dummy
multinode = Dummy

__all__ = ["Multinode", "multinode"]
