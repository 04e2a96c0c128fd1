"""The side of the processes that run users' code: standard library only, loaded by path, never importing the daemon."""
