"""Not there: a task described by a file. Importing it works, using it says what to do."""

from pycompss.api._missing import missing

software = missing("software", "a task described by a file", "say the same with decorators")
Software = software

__all__ = ["Software", "software"]
