"""Tasks that are one MPI run of several programs."""

from agentd.api.decorators.mpmd import mpmd_mpi

MpmdMPI = mpmd_mpi
Mpmd_mpi = mpmd_mpi
MPMDMPI = mpmd_mpi

__all__ = ["MPMDMPI", "MpmdMPI", "Mpmd_mpi", "mpmd_mpi"]
