"""Not there: a Julia script. Importing it works, using it says what to do."""

from pycompss.api._missing import missing

julia = missing("julia", "a Julia script", 'start it with @binary(binary="julia")')
Julia = julia

__all__ = ["Julia", "julia"]
