"""How neighbours are reached: by which links, and at which addresses."""
