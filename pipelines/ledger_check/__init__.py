"""The proof that a flow's ledger is whole, and that its tables hold what it says."""
