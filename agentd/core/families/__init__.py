"""Tasks that ask for tasks: what is asked for, in which order it runs, and when all of it is over."""
