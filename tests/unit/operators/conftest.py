from __future__ import annotations

import json

import pytest

from tests.unit.hooks.conftest import CONN, KEY, api, logs
from tests.virtual_time import VirtualTime, virtual_time

__all__ = ["api", "logs", "virtual_time"]


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch, virtual_time: VirtualTime) -> None:
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "stoq", "password": KEY}))
