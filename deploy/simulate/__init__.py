"""Workloads a person recognises, written with the official client, that account for what they wrote."""
