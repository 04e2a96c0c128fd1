"""What users ask of the agent, from whichever door they come."""
