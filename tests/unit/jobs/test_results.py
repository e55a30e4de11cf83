"""What becomes of a wait that has ended."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from stoq_provider.exceptions import DownloadError, ValidationRejected
from stoq_provider.jobs import results
from stoq_provider.systems.stoq.system import Stoq


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        pytest.param(ValidationRejected("the connection is gone"), ValidationRejected, id="of this package"),
        pytest.param(OSError("disk full"), DownloadError, id="of the store"),
    ],
)
def test_a_list_that_cannot_be_stored(monkeypatch, error, raised):
    def store_text(*args):
        raise error

    monkeypatch.setattr("stoq_provider.download.download.store_text", store_text)
    client = SimpleNamespace(system=Stoq(), log=logging.getLogger("lists"))
    with pytest.raises(raised, match=str(error)):
        results.keep_long(client, {}, "orders", [1, 2], "/lake", recorded=True, most=1)
    assert results.keep_long(client, {}, "orders", [1, 2], "/lake", recorded=False, most=1) == {"orders": [1]}
