"""Checkpoints read without Spark: identity, offsets, the lease, the journal of unflushed ledger rows."""
