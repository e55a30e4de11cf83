"""Measures how a shop's points are spent: `make bench-points`."""
