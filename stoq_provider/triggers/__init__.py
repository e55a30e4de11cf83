"""Triggers: their waiting only reads, because a triggerer may run one trigger twice."""
