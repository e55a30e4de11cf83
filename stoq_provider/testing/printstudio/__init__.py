"""
PrintStudio's orders, print jobs and SKUs, with the bulk routes over them.

Documented are the routes, caps, limits, states, roles and the shape of errors. What the bulk routes answer,
beyond the creation of orders, is not: such decisions are marked with ``Invented:``.
"""
