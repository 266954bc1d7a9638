"""A workload a person recognises: cards, customers, merchants and their payments, written by the official client."""
