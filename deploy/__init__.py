"""How Millrace runs: the complete command line, the local stack, jars, images."""
