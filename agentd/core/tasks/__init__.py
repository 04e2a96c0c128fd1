"""One task from the call that asks for it to its end: its record, what is alike in many, what is kept of it."""
