"""The engine: everything that happens is an event, everything wanted is a command; no clock, no I/O, no chance."""
