"""Kills and faults, many of them, against a running flow, and an oracle that would notice one wrong record: `make chaos`."""
