"""One Airflow and one browser for all tests of this folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from moto.server import ThreadedMotoServer
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import ShopSize
from tests.browser.connections import drop_port_zero
from tests.cluster.airflow import Cluster
from tests.cluster.conftest import pytest_runtest_makereport, running
from tests.cluster.waiting import PATIENCE

__all__ = ["pytest_runtest_makereport"]  # shows the logs of Airflow with each test that fails

HERE = Path(__file__).parent
IMAGES = HERE.parents[1] / "docs" / "images"
LARGEST = 100_000
"""Bytes of a picture in the documentation."""

SWITCHES = (
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-proxy-server",
    # Nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
"""What Playwright does not pass by itself."""

Picture = Callable[[str, Locator], None]

expect.set_options(timeout=PATIENCE * 1000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", action="store_true", help="renew the pictures in docs/images")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    store = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    store.start()
    try:
        proxy = "http://{}:{}".format(*store.get_host_and_port())
        with Sandbox(size=ShopSize(orders=200, offers=4)) as sandbox:
            cluster = Cluster(
                tmp_path_factory.mktemp("browser"),
                sandbox,
                dags=HERE / "dags",
                variables=_environment(proxy),
            )
            with running(cluster):
                yield cluster
    finally:
        store.stop()


def _environment(proxy: str) -> dict[str, str]:
    """Allow the Test button; have a server for tests stand in for Amazon, whose address it is asked by."""
    with requests.Session() as session:
        session.trust_env = False
        session.put(f"{proxy}/acme-warehouse").raise_for_status()
    extra = {
        "region_name": "us-east-1",
        "endpoint_url": "http://s3.us-east-1.amazonaws.com",
        "config_kwargs": {"proxies": {"http": proxy}},
    }
    aws = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    return {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled", "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws)}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "There is no Chromium here. On Debian: apt-get install chromium."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, cluster: Cluster) -> Iterator[Page]:
    """A page of Airflow, as someone sees it who comes for the first time."""
    cluster.sandbox.reset()
    context = browser.new_context(
        base_url=cluster.api.origin,
        viewport={"width": 1200, "height": 720},
        locale="en-US",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE * 1000)
    context.route("**/api/v2/connections/test", drop_port_zero)
    yield context.new_page()
    context.close()


@pytest.fixture
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Picture:
    """Take a picture for the documentation, which is renewed only where that was asked for."""
    folder = IMAGES if request.config.getoption("--screenshots") else tmp_path

    def take(name: str, what: Locator) -> None:
        file = folder / f"{name}.png"
        what.screenshot(path=file, animations="disabled")
        assert file.stat().st_size < LARGEST

    return take
