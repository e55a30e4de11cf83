from __future__ import annotations

import json

import pytest

from tests.unit.hooks.conftest import CONN, KEY, api, logs  # noqa: F401


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "stoq", "password": KEY}))
