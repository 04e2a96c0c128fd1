"""Not there: several MPI programs in one run. Importing it works, using it says what to do."""

from pycompss.api._missing import missing

mpmd_mpi = missing("mpmd_mpi", "several MPI programs in one run", "start them with @mpi and flags of the runner")
MpmdMPI = mpmd_mpi
Mpmd_mpi = mpmd_mpi
MPMDMPI = mpmd_mpi

__all__ = ["MPMDMPI", "MpmdMPI", "Mpmd_mpi", "mpmd_mpi"]
