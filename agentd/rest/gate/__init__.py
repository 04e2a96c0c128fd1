"""What stands before every route: who asks, from where, and how much."""
