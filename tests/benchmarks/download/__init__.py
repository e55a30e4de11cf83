"""Measures downloads against curl and others: `make bench-download`."""
