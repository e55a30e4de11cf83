"""The engine: submit once, wait, and land what comes of it."""
