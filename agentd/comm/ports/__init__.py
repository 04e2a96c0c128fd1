"""Ports that are open, and addresses that are dialled."""
