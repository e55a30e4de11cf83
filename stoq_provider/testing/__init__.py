"""
A local server that speaks the documented STOQ API v2: for trying things out and for tests.

Next to STOQ it speaks Medusa v1, SureCart and PrintStudio, each at an origin of its own.

It is no copy of the real product. What the documentation leaves open had to be decided somehow; every
such decision is marked with the word ``Invented:`` where it is made, so that nobody takes it for a fact.

The server itself is imported on first use of `Sandbox`, so importing this package costs nothing.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoq_provider.testing.server import Sandbox

__all__ = [
    "MEDUSA_EMAIL",
    "MEDUSA_OTHER_EMAIL",
    "MEDUSA_PASSWORD",
    "MEDUSA_TOKEN",
    "PRINTSTUDIO_KEYS",
    "SANDBOX_KEY",
    "SURECART_KEY",
    "Sandbox",
]

SANDBOX_KEY = "stoq_api_key_" + "sandbox".ljust(32, "0")
"""The key of the sandbox's shop, in the documented format: a prefix and 32 characters."""

MEDUSA_TOKEN = "medusa-sandbox-token"  # noqa: S105
"""API token of the sandbox's Medusa admin."""
MEDUSA_EMAIL = "admin@sandbox.test"
MEDUSA_PASSWORD = "sandbox-password"  # noqa: S105
MEDUSA_OTHER_EMAIL = "other@sandbox.test"
"""A second admin with the same password, without an API token: it must not see the first one's jobs."""
SURECART_KEY = "surecart-sandbox-key"
"""Secret key of the sandbox's SureCart account. Invented: its format."""
PRINTSTUDIO_KEYS = {role: f"psk_live_sandbox_{role}" for role in ("customer", "operator", "admin")}
"""A key for each role, in the documented format."""


def __getattr__(name: str) -> Any:
    if name != "Sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for needed in ("python_multipart", "starlette", "uvicorn"):
        if not _installed(needed):
            raise ImportError(
                f"The sandbox needs {needed}, which is not installed. "
                "Install the extra: pip install 'airflow-provider-stoq[sandbox]'"
            )
    from stoq_provider.testing.server import Sandbox

    return Sandbox


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:
        return False
