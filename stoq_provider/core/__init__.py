"""
What the problem is, without Airflow, network or clock.

``http`` reads answers, ``jobs`` holds the one state machine, ``polling`` decides when to look again,
``budget`` keeps the points of a shop, ``plan`` describes a submission, ``record`` keeps it from being
sent twice, ``manifest`` is what a finished task returns. Time is always an argument: ``now``, in Unix
seconds.
"""
