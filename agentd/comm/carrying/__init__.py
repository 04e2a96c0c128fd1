"""What carries the bytes of a link, and what waits to be carried."""
