"""`local` without effect."""

from pycompss.api.dummy._decorator import Dummy

Local = Dummy
local = Dummy

__all__ = ["Local", "local"]
