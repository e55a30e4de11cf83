"""Who a component of a cluster is to the others, which all run on one machine."""

from __future__ import annotations

import os

VARIABLE = "STOQ_CLUSTER_COMPONENT"


def of_component() -> str:
    """Return the name of the component that this process belongs to."""
    return os.environ.get(VARIABLE, "localhost")
