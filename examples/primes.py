"""Functions to call: prime numbers, counted the slow way.

Start an agent in this folder, and call them from anywhere:

    agentd start
    agentd call primes:count 0 100000
    curl -H 'Content-Type: application/json' -d '{"function": "primes:count", "args": [0, 100000]}' \
        'http://127.0.0.1:46101/v1/operations?wait_s=30'

A function that an agent may call is nothing but a public function of a module in a folder that the agent was given.
"""

from __future__ import annotations

from math import isqrt
from time import sleep


def count(start: int, stop: int) -> int:
    """Count the primes from `start` up to, not including, `stop`."""
    return sum(is_prime(number) for number in range(start, stop))


def is_prime(number: int) -> bool:
    """Try all divisors up to the root."""
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def watch(seconds: int) -> str:
    """Look for the largest prime for so long, saying aloud what was found: something to follow and to cancel."""
    largest = 2
    for second in range(1, seconds + 1):
        sleep(1)
        largest = next(number for number in range(largest * 10, largest * 20) if is_prime(number))
        print(f"after {second} s: {largest}", flush=True)
        largest = min(largest, 10**9)
    return f"{largest} is prime"
