"""A task that is an MPI run."""

from agentd.api.decorators.mpi import mpi

Mpi = mpi
MPI = mpi

__all__ = ["MPI", "Mpi", "mpi"]
