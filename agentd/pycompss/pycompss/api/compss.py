"""Not there: a nested COMPSs run. Importing it works, using it says what to do."""

from pycompss.api._missing import missing

compss = missing("compss", "a nested COMPSs run", "run the other program as an operation of its own")
Compss = compss
COMPSs = compss

__all__ = ["COMPSs", "Compss", "compss"]
