"""Schema files made from what is there, compared with each other and with the tables they decide about."""
