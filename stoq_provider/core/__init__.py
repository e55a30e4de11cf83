"""
What the problem is, without Airflow, network or clock.

``models`` are the forms in which a job is known, ``lifecycle`` holds the one state machine. ``polling``
decides when to ask again, ``poll_queue`` which job of a shop comes next, ``rate_limit`` keeps the points of a
shop, ``pacing`` spends them evenly, ``estimate`` prices a run. ``http`` reads responses, ``error_text`` the
server's words in them. ``validation`` checks what a user gives, ``submission`` describes a call that starts a
job, ``records`` keeps it from being sent twice, ``notes`` are what else a task keeps. ``events`` says how
waiting ended, ``manifest`` is what a finished task returns, ``forms`` reads and writes the JSON of all these.
Time is always an argument: ``now``, in Unix seconds.
"""
