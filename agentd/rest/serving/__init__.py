"""HTTP on a socket, in the daemon's own loop."""
