"""Destinations for change events, each safe under repetition and reordering."""
