"""Functions that many programs need: maps, reductions, random data, measures."""
