"""`mpi` without effect."""

from pycompss.api.dummy._decorator import Dummy

Mpi = Dummy
mpi = Dummy

__all__ = ["Mpi", "mpi"]
