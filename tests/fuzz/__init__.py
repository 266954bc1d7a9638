"""Damaged messages by the million: `make fuzz`, and a short run among the unit tests."""
