"""Calls of functions on an agent: the executor, its futures, and the lines that carry them."""
