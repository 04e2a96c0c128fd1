"""`http` without effect."""

from pycompss.api.dummy._decorator import Dummy

Http = Dummy
http = Dummy

__all__ = ["Http", "http"]
