"""What must outlive the process: the journal, the objects, and who this agent is."""
