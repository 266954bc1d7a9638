"""What `make setup` runs before any package is installed: standard library only."""
