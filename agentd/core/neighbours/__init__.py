"""The agents next to this one: the belief in them, what is given to them, and what they give."""
