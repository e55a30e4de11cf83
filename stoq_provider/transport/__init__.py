"""
The life of a request (``flow``), and what sends it: ``sync`` (requests), ``aio`` (httpx), ``upload`` (files).

Nothing else in this package speaks HTTP to an API; the download of results has a session of its own.
"""
