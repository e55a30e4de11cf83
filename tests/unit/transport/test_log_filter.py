"""No URL in a log, whatever the level; other users of the libraries keep theirs."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import threading

import pytest
import requests

from stoq_provider.core.http import Request
from stoq_provider.transport import log_filter
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.client_pool import make_client
from stoq_provider.transport.log_filter import LOGGERS, quietly
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, RateLimiter
from stoq_provider.transport.retry import RetryPolicy
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.sync import SyncTransport

from . import silence
from .conftest import KEY, STOQ, settings
from .silence import PATIENCE

SECRET = "X-Amz-Signature=5ecre7"
POLICY = RetryPolicy(attempts=2)
LIBRARIES = ("urllib3", "requests", "httpx", "httpcore")


@pytest.fixture
def everything(caplog):
    """Log everything, also what the libraries say in detail."""
    caplog.set_level(logging.DEBUG)
    for name in (*LOGGERS, *LIBRARIES):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def by_sync(origin, request, clock):
    given = settings(origin, timeout=PATIENCE)
    session = ShopSession(given, STOQ)
    SyncTransport(session, given, STOQ, sleep=clock.sleep, clock=clock).send(request, POLICY)


def by_async(origin, request, clock):
    async def run():
        given = settings(origin, timeout=PATIENCE)
        async with make_client(given) as client:
            transport = AsyncTransport(
                given,
                client=Client(client, Login(given, STOQ)),
                scheduler=PollScheduler(STOQ, RateLimiter(STOQ, 0.8, TRIGGERER), clock=clock),
                sleep=clock.asleep,
            )
            await transport.send(request, POLICY)

    silence.run(run())


@pytest.mark.parametrize("way", ["ok", "reset", "truncated", "not http", "silent"])
@pytest.mark.parametrize("send", [by_sync, by_async], ids=["sync", "async"])
def test_nothing_is_said_about_a_request(everything, raw_server, clock, send, way):
    server = raw_server(way)
    send(server.origin, Request("GET", f"{server.origin}/download?{SECRET}"), clock)
    assert server.heads
    assert [r.name for r in everything.records if r.name.startswith(LIBRARIES)] == []
    assert "5ecre7" not in everything.text
    assert KEY not in everything.text


@pytest.mark.parametrize("send", [by_sync, by_async], ids=["sync", "async"])
def test_nothing_is_said_about_a_connection_that_is_refused(everything, free_port, clock, send):
    origin = f"http://127.0.0.1:{free_port}"
    send(origin, Request("GET", f"{origin}/download?{SECRET}"), clock)
    assert [r.name for r in everything.records if r.name.startswith(LIBRARIES)] == []


def test_others_keep_their_logs(everything, raw_server):
    server = raw_server("ok")
    quietly(int)
    requests.get(f"{server.origin}/other", timeout=60)
    assert "/other" in everything.text


@pytest.mark.parametrize("name", LOGGERS)
def test_only_the_calling_context_is_quiet(everything, name):
    logger = logging.getLogger(name)

    def speak():
        logger.warning("mine")
        thread = threading.Thread(target=logger.warning, args=("of another thread",))
        thread.start()
        thread.join()
        logging.getLogger("elsewhere").warning("of another logger")

    quietly(speak)
    logger.warning("afterwards")
    assert [r.message for r in everything.records] == ["of another thread", "of another logger", "afterwards"]


def test_other_tasks_of_the_loop_keep_their_logs(everything):
    logger = logging.getLogger("httpx")

    async def run():
        inside, written = asyncio.Event(), asyncio.Event()

        async def log_filter():
            inside.set()
            await written.wait()
            logger.info("quiet")

        async def loud():
            await inside.wait()
            logger.info("loud")
            written.set()

        await asyncio.gather(quietly(asyncio.ensure_future, log_filter()), loud())

    asyncio.run(run())
    assert [r.message for r in everything.records if r.name == "httpx"] == ["loud"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_call_ends_the_silence_and_calls_may_nest(everything, error):
    logger = logging.getLogger("httpx")

    def fail():
        raise error

    with pytest.raises(error):
        quietly(fail)
    quietly(lambda: (quietly(logger.info, "inner"), logger.info("outer")))
    logger.info("after")
    assert [r.message for r in everything.records if r.name == "httpx"] == ["after"]


def test_a_signal_at_any_step_leaves_nothing_quiet(everything):
    """A tracing function raises at each line in turn, as a signal may."""
    logger = logging.getLogger("httpx")
    step = itertools.count()
    for fatal in range(200):
        passed = itertools.count()

        def interrupt(frame, event, argument, fatal=fatal, passed=passed):
            if frame.f_code.co_filename == log_filter.__file__ and next(passed) == fatal:
                raise InterruptedError
            return interrupt

        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            quietly(int)
            break
        except InterruptedError:
            next(step)
        finally:
            sys.settrace(before)
        logger.info("after")
    assert next(step) > 10
    assert len([r for r in everything.records if r.name == "httpx"]) == next(step) - 1


def test_filters_do_not_pile_up():
    for _ in range(3):
        quietly(int)
    for name in LOGGERS:
        assert len([f for f in logging.getLogger(name).filters if "quiet" in getattr(f, "__name__", "")]) == 1


def test_a_logging_configuration_that_drops_filters_does_no_harm(everything):
    logger = logging.getLogger("httpx")
    quietly(int)
    logger.filters.clear()
    quietly(logger.info, "quiet")
    assert "quiet" not in [r.message for r in everything.records]
