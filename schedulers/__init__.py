"""Pure placement policies, and the types of their question and their answer."""
