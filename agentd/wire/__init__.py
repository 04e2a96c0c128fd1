"""The Comm protocol as values: bytes in, messages out; no socket, no clock, no chance."""
