"""Operators: parameters, templating, deferring. What they do stands in ``jobs``."""
