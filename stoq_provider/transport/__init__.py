"""
Two thin drivers over ``core.http``: ``sync`` (requests) and ``aio`` (httpx).

Nothing else in this package touches the network, the download of results excepted.
"""
