"""A hierarchy of agents in virtual time: the real engine and the real schedulers over a heap of events.

Time, links and workers are stand-ins; every decision is made by the code that a daemon runs. One seed gives one
history.
"""
