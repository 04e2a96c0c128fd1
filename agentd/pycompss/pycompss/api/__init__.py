"""The decorators and functions that programs import, one module for each, as in PyCOMPSs."""
