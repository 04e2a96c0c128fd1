"""What must survive: the entries, the operations that they tell of, and how they are taken up again."""
