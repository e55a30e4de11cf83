"""Hooks: connections, requests, submissions, waiting and download. Here values become typed errors."""
