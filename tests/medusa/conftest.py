"""
One set of tests for a real Medusa and for the sandbox, so that the sandbox is held to the real thing;
what it leaves out is asked of the real one only (`only_real`).

``--medusa=real`` runs them against the real one (``make test-medusa``), the default against the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from tests.medusa.bench import Ahead, Bench, Crew
from tests.medusa.client import Client
from tests.medusa.servers import Server, running

SERVERS = {"sandbox": ["sandbox"], "real": ["medusa"], "both": ["sandbox", "medusa"]}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--medusa", choices=sorted(SERVERS), default="sandbox", help="which Medusa servers to run against"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        # Unknown where the whole of tests/ is collected: options come from the folders that are named.
        names = SERVERS[metafunc.config.getoption("medusa", "sandbox")]
        # Tests that kill a server have one of their own, with a queue of its own.
        use = "kills" if getattr(metafunc.module, "KILLS_SERVERS", False) else "shared"
        given = [pytest.param((name, use), id=name) for name in names]
        metafunc.parametrize("server", given, indirect=True, scope="session")


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str, str], Server]]:
    """Starts a server of a name for a use, once; they run until the end."""
    with ExitStack() as stack:
        yield cache(lambda name, use: stack.enter_context(running(name)))


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, servers: Callable[[str, str], Server]) -> Server:
    """A running server, for all tests of a worker; those that kill servers have another."""
    return servers(*request.param)


@pytest.fixture(scope="session")
def client(server: Server) -> Client:
    """Asks with the API token."""
    return Client(server, {"x-medusa-access-token": server.api_token})


@pytest.fixture(scope="session")
def other_client(server: Server) -> Client:
    """Asks as the second administrator."""
    return Client(server, Client(server).bearer(server.other_email, server.password))


@pytest.fixture
def only_real(server: Server) -> None:
    """For what the sandbox has no use for, and so leaves out."""
    if server.name == "sandbox":
        pytest.skip("the sandbox leaves this out")


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    """What a module changes of the world around."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def bench(
    server: Server, client: Client, patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    """Makes tasks at the server, with the API token unless another is given."""
    return Bench(server, client, patch, tmp_path_factory.mktemp("lake"))


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Ahead:
    """The package's clock."""
    return Ahead(monkeypatch)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """Runs the tasks of a module beside each other."""
    with Crew() as crew:
        yield crew


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and server is not None:
        report.sections.append((f"what {server.name} wrote last", server.log()))
    return report
