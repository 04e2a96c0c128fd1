"""Values between tasks: their versions, where their bytes are, and how they come to where they are read."""
