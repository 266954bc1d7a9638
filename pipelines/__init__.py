"""Flows: the model, the numbered micro-batch, the runner and the command line."""
