"""Sockets: for the Comm protocol, and for what talks to this agent on the same device."""
