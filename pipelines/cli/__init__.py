"""The commands on flows. Each module is one command and imports nothing heavy at its top."""
