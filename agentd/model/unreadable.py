"""What reading bytes of others raises; apart from the errors, which processes load that have no msgspec."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises over bytes that it cannot read: wrong characters and deep nesting have errors of their own."""
