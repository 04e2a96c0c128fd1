"""The user port: HTTP in front of the agent."""
