"""
Medusa v1's Admin API as far as batch jobs need it, after the responses of a real Medusa 1.20.11.

``M`` in a comment: measured on it. ``S``: read in its published source. ``Invented:`` decided here.
"""
