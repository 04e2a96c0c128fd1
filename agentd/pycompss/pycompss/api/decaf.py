"""Not there: a Decaf dataflow. Importing it works, using it says what to do."""

from pycompss.api._missing import missing

decaf = missing("decaf", "a Decaf dataflow", "start it with @mpi or @binary")
Decaf = decaf

__all__ = ["Decaf", "decaf"]
