"""This agent's own workers: what they are given, what they report, and what is done when they are gone."""
