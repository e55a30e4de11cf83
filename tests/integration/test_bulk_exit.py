"""
A worker process that really ends (``os._exit``) around a POST; the next try is another process's.

Importing Airflow takes seconds, so one process that has done it forks a child for each worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stoq_provider.exceptions import SubmissionUncertain
from stoq_provider.hooks.stoq import StoqHook

from .conftest import CONN, DEATHS, MODES, fails

MAIL = "send_payment_collection_url"
ROOT = Path(__file__).parents[2]
EXIT = 9

PROGRAM = """
import json, os, sys
import tests.conftest
from stoq_provider.jobs.submit import Submitter
from stoq_provider.transport.sync import SyncTransport
from tests.integration.conftest import Bench

exchange, send = SyncTransport._exchange, Submitter._send

def work(job):
    async def die_at_post(transport, request):
        if request.method == "POST" and job["death"] == "before-the-post":
            os._exit(9)
        answer = await exchange(transport, request)
        if request.method == "POST" and job["death"] == "after-the-post":
            os._exit(9)
        return answer

    def die_at_note(*arguments, **options):
        send(*arguments, **options)
        os._exit(9)

    os.environ.update(job["environ"])
    SyncTransport._exchange = die_at_post
    if job["death"] == "after-the-handle":
        Submitter._send = die_at_note
    Bench(None, None).bulk(job["action"], job["ids"], job["mode"], store=False).execute()

for line in sys.stdin:
    if os.fork() == 0:
        try:
            work(json.loads(line))
        finally:
            sys.stderr.flush()
            os._exit(1)
    print("ended", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.fixture
def environ(monkeypatch, sandbox, tmp_path):
    monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", f"file://{tmp_path}/records")
    return {"AIRFLOW__STOQ__STATE_PATH": f"file://{tmp_path}/records", CONN: os.environ[CONN]}


@pytest.fixture(scope="module")
def workers():
    """The process that forks the workers."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def end_in_a_process(workers, environ):
    def end(**job):
        workers.stdin.write(json.dumps({**job, "environ": environ}) + "\n")
        workers.stdin.flush()
        # Airflow may print lines of its own.
        printed = next((line for line in workers.stdout if line.startswith("ended ")), "no worker")
        assert printed.split() == ["ended", str(EXIT)]

    return end


# One mode for each case: a process takes its time, and before the wait both modes do the same.
CASES = list(zip(DEATHS, (1, 2, 1), (*MODES, MODES[0]), strict=True))


@pytest.mark.parametrize(("death", "times", "mode"), CASES, ids=DEATHS)
def test_worker_process_ended_repeat_safe(bench, sandbox, end_in_a_process, death, times, mode):
    ids = [1, 2, 3]
    end_in_a_process(action="release", ids=ids, mode=mode, death=death)
    assert len(bench.sent()) == (death != "before-the-post")
    manifest = bench.bulk("release", ids, mode, store=False).execute()
    assert bench.sent() == [ids] * times
    assert manifest["jobs"][0]["job_id"] == sandbox.submissions[-1]["job_id"]


@pytest.mark.parametrize(("death", "mode"), list(zip(DEATHS, (*MODES, MODES[0]), strict=True)), ids=DEATHS)
def test_worker_process_ended_mail_goes_out_once_at_the_most(bench, sandbox, end_in_a_process, death, mode):
    ids = [order["shopify_order_id"] for order in StoqHook().iter_orders(state="awaiting_balance")][:20]
    end_in_a_process(action=MAIL, ids=ids, mode=mode, death=death)
    run = bench.bulk(MAIL, ids, mode, store=False)
    if death == "after-the-handle":
        assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    else:
        fails(run.execute, SubmissionUncertain, "Nothing was sent now", final=True)
    sandbox.advance(600)
    sent = death != "before-the-post"
    assert bench.sent() == [ids] * sent
    assert set(sandbox.state["payment_links"].values()) == ({1} if sent else set())
