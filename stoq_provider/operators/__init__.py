"""Operators: parameters, templating, deferring. What they do stands in ``hooks``."""
