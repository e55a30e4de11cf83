"""The hook as an author of DAGs uses it, against ``requests-mock``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import requests_mock

from stoq_provider.hooks.stoq import StoqHook
from tests.harness import Logs, recorded_logs

KEY = "stoq_api_key_0123456789abcdef0123456789abcdef"
API = "https://app.stoqapp.com/api/v2/external"
CONN = "AIRFLOW_CONN_STOQ_DEFAULT"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> StoqHook:
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "stoq", "password": KEY}))
    hook = StoqHook()
    # Waiting takes no time, but the budget's clock moves on by it.
    hook.waits = []  # type: ignore[attr-defined]
    monkeypatch.setattr(hook, "sleep", hook.waits.append)  # type: ignore[attr-defined]
    hook.transport._clock = lambda: time.time() + sum(hook.waits)  # type: ignore[attr-defined]
    return hook


@pytest.fixture
def api() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


@pytest.fixture
def logs() -> Iterator[Logs]:
    with recorded_logs() as logs:
        yield logs
