"""What people are shown of the agent: its tasks, its figures, and what their code wrote."""
