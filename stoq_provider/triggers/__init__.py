"""Triggers: they only read, because a triggerer may run one trigger twice."""
