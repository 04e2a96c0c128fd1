"""`on_failure` without effect."""

from pycompss.api.dummy._decorator import Dummy

OnFailure = Dummy
on_failure = Dummy

__all__ = ["OnFailure", "on_failure"]
