"""Delta tables: history, dead letters and ledger, each appended to exactly once per batch."""
