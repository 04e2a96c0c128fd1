"""Tasks inside operations: what a decorated function is, and the runtime that its calls go to.

Law: standard library only, since this loads in users' processes; nothing is sent anywhere until a task is called.
"""
