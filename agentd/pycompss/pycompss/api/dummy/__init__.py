"""The names of `pycompss.api` without any effect: programs that import these run as plain Python everywhere."""
