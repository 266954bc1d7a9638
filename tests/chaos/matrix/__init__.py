"""The matrix: scenarios as data, the servers and drivers they strike, the oracle, and the results."""
