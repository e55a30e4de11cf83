"""
What the problem is, without Airflow, network or clock.

``http`` reads responses, ``models`` are the forms in which a job is known, ``lifecycle`` holds the one state
machine, ``polling`` decides when to ask again, ``rate_limit`` keeps the points of a shop, ``validation``
checks what a user gives, ``submission`` describes a call that starts a job, ``records`` keeps it from being
sent twice, ``notes`` are what else a task keeps, ``events`` says how waiting ended, ``forms`` reads and
writes the JSON of all these, ``manifest`` is what a finished task returns. Time is always an argument:
``now``, in Unix seconds.
"""
