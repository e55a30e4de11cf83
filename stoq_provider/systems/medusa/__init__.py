"""Medusa v1: batch jobs of its admin API."""
