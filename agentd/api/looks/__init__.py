"""What an operation's tasks look like: as a graph, a trace, and sums by function."""
