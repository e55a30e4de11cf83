"""Bulk jobs of commerce APIs in Apache Airflow."""

__version__ = "0.1.0"
