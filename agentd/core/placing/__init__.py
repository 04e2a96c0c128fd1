"""Where tasks go: what waits, what there is to give, and the plan that brings both together."""
