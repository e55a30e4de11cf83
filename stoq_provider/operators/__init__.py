"""Operators: parameters, templating, deferring. Their work stands in ``jobs`` and ``download``."""
