"""Whom the agent trusts, and how one comes to be: its own key, invitations, pairing, tokens."""
