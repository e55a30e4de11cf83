"""Sensors for jobs that something else submitted; a sensor never submits and never cancels."""
