"""The engine behind the hook of STOQ, against ``requests-mock``."""

from __future__ import annotations

from tests.unit.hooks.conftest import api, hook, logs

__all__ = ["api", "hook", "logs"]
