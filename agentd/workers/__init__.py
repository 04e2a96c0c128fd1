"""Processes that run users' code: started, fed, watched and ended here."""
