"""The nouns: operations, tasks, outcomes, identifiers, errors; no behaviour beyond invariants."""
