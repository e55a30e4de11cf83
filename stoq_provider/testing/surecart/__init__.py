"""
SureCart's bulk actions, and the customers and products that they delete.

Documented are the routes, the object, the status words, the shape of errors and the rate limit. What the
documentation leaves open is marked with ``Invented:``.
"""
