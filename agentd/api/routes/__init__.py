"""The REST interface of an agent as Python: clients, requests and what comes back."""
