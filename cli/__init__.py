"""The commands: each parses, calls the agent's client, and prints."""
