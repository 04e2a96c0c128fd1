"""A store for persistent objects: files in the folder that its configuration names."""
