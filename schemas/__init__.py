"""What the bytes mean: change events, version order, bin types, table contracts, errors. No I/O."""
