"""
A local server that speaks the documented STOQ API v2: for trying things out and for tests.

It is no copy of the real product. What the documentation leaves open had to be decided somehow; every
such decision is marked with the word ``Invented:`` where it is made, so that nobody takes it for a fact.

The server itself is imported on first use of `Sandbox`, so importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoq_provider.sandbox.server import Sandbox

__all__ = ["SANDBOX_KEY", "Sandbox"]

SANDBOX_KEY = "stoq_api_key_" + "sandbox".ljust(32, "0")
"""The key of the sandbox's shop, in the documented format: a prefix and 32 characters."""


def __getattr__(name: str) -> Any:
    if name != "Sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"The sandbox needs {error.name}, which is not installed. "
            "Install the extra: pip install 'airflow-provider-stoq[sandbox]'"
        ) from error
    from stoq_provider.sandbox.server import Sandbox

    return Sandbox
