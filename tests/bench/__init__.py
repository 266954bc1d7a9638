"""Measurements: ratios taken in one run, on one topic, on the same machine. `make bench` runs them."""
