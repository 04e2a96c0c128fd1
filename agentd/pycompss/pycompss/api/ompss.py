"""Not there: an OmpSs run. Importing it works, using it says what to do."""

from pycompss.api._missing import missing

ompss = missing("ompss", "an OmpSs run", "start its binary with @binary")
Ompss = ompss
OmpSs = ompss

__all__ = ["OmpSs", "Ompss", "ompss"]
