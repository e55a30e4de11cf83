"""Hooks: connections, requests and submissions. What they do with jobs stands in ``jobs``."""
