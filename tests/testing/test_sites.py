"""What all systems of the sandbox share: origins, faults, the clock, reset, controls."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress

import pytest
import requests

from stoq_provider.testing import Sandbox

from .conftest import PATIENCE, Site, address, connects, wait_until

NAMES = ("medusa", "surecart", "printstudio")
READS = {"medusa": "/admin/batch-jobs", "surecart": "/v1/bulk_actions", "printstudio": "/api/skus"}


@pytest.fixture(params=NAMES)
def site(request, sandbox):
    return Site(sandbox, request.param)


def read(site, **options):
    return site.get(READS[site.name], **options)


def test_each_system_has_an_origin_of_its_own(sandbox):
    origins = {sandbox.origin, sandbox.files_origin, *(getattr(sandbox, f"{name}_origin") for name in NAMES)}
    assert len(origins) == 5
    assert all(origin.startswith("http://127.0.0.1:") for origin in origins)


def test_answers_with_the_key_and_refuses_without(site):
    assert read(site).status_code == 200
    assert read(site, headers={}).status_code == 401
    assert read(site, headers=dict.fromkeys(site.headers, "wrong")).status_code == 401
    assert site.state["unauthorized"] == 2


def test_keys_of_one_system_are_nothing_to_another(sandbox, site):
    for other in NAMES:
        if other != site.name:
            assert read(Site(sandbox, other), headers=site.headers).status_code == 401


def test_faults_hit_the_origin_they_are_armed_for(sandbox, site):
    sandbox.arm("status", status=500, origin=site.name)
    for other in NAMES:
        if other != site.name:
            assert read(Site(sandbox, other)).status_code == 200
    assert read(site).status_code == 500
    assert read(site).status_code == 200


def test_an_error_that_was_ordered_has_the_systems_own_shape(sandbox, site):
    fields = {
        "medusa": {"code", "type", "message"},
        "surecart": {"http_status", "type", "code", "message", "validation_errors"},
        "printstudio": {"error", "code", "details"},
    }
    sandbox.arm("status", status=500, origin=site.name)
    assert set(read(site).json()) == fields[site.name]


def test_reset_after_carries_the_request_out(sandbox, surecart):
    sandbox.arm("reset_after", origin="surecart", method="POST")
    body = {"bulk_action": {"action_type": "delete_customers", "record_ids": ["x"]}}
    with pytest.raises(requests.ConnectionError):
        surecart.post("/v1/bulk_actions", body)
    assert len(surecart.state["submissions"]) == 1


def test_refuses_connections_for_a_while(sandbox, site):
    sandbox.arm("refuse", seconds=None, origin=site.name)
    with pytest.raises(requests.ConnectionError):
        read(site)
    sandbox.disarm()
    assert read(site).status_code == 200


def test_reset_opens_the_door_again(sandbox, site):
    sandbox.arm("refuse", seconds=None, origin=site.name)
    sandbox.reset()
    assert read(site).status_code == 200


def test_unknown_origins_are_refused(sandbox):
    with pytest.raises(ValueError, match="origin must be one of: api, files, medusa, surecart, printstudio"):
        sandbox.arm("status", origin="shop")


def test_reset_forgets_what_the_systems_did(sandbox, medusa, surecart, printstudio):
    medusa.create()
    surecart.post(
        "/v1/bulk_actions", {"bulk_action": {"action_type": "delete_products", "record_ids": ["x"]}}
    )
    order = {"customerId": "c", "lineItems": [{"skuId": "sku_001", "quantity": 1}]}
    printstudio.post("/api/orders/bulk", {"orders": [order]})
    assert [len(sandbox.state[name]["submissions"]) for name in NAMES] == [1, 1, 1]
    sandbox.reset()
    assert [sandbox.state[name]["submissions"] for name in NAMES] == [[], [], []]
    assert medusa.get("/admin/batch-jobs").json()["count"] == 0


def test_ids_of_before_a_reset_do_not_come_back(sandbox, surecart):
    before = set(surecart.state["customers"])
    sandbox.reset()
    assert not before & set(surecart.state["customers"])


def test_controls_are_reached_by_http_too(sandbox, printstudio, client):
    job_id = next(iter(printstudio.state["jobs"]))
    body = {"control": "fail", "job_id": job_id}
    assert client.control("POST", "systems/printstudio", json=body).status_code == 200
    assert printstudio.state["jobs"][job_id]["status"] == "FAILED"


@pytest.mark.parametrize(
    ("name", "action", "options", "reason"),
    [
        ("shop", "kill", {}, "system must be one of"),
        ("medusa", "explode", {}, "control must be one of: kill"),
        ("medusa", "kill", {"minutes": 1}, "minutes"),
        ("medusa", "next_job", {"colour": "red"}, "unknown job settings: colour"),
        ("surecart", "next_action", {"outcome": "fine"}, "outcome must be one of"),
        ("printstudio", "move", {"job_id": "x", "state": "READY"}, "no such print job"),
        ("printstudio", "limits", {"toys": 1}, "unknown limits: toys"),
    ],
)
def test_what_nobody_knows_is_refused(sandbox, client, name, action, options, reason):
    with pytest.raises(ValueError, match=reason):
        sandbox.control(name, action, **options)
    answer = client.control("POST", f"systems/{name}", json={"control": action, **options})
    assert answer.status_code == 422
    assert reason in answer.json()["errors"][0]


def test_time_runs_faster_for_all(surecart):
    with Sandbox(time_scale=200, size=None) as fast:
        medusa = Site(fast, "medusa")
        body = {"type": "product-export", "context": {}}
        medusa.post("/admin/batch-jobs", body)
        surecart = Site(fast, "surecart")
        action = {"action_type": "delete_products", "record_ids": fast.state["surecart"]["products"][:1]}
        surecart.post("/v1/bulk_actions", {"bulk_action": action})
        # Six seconds of job time are 30 ms.
        wait_until(lambda: {job["status"] for job in medusa.state["jobs"].values()} == {"completed"})
        wait_until(lambda: {job["status"] for job in surecart.state["jobs"].values()} == {"succeeded"})


@pytest.mark.parametrize("steps", range(5))
def test_no_request_waits_for_ever_when_the_door_closes(sandbox, steps):
    """
    A connection is accepted in one step of the event loop and served in a later one.

    The door closes so many steps after the connection has come: before, between or after.
    """
    loop, listener = sandbox._loop, sandbox._listeners["medusa"]

    def close_in(left):
        if left:
            loop.call_soon(close_in, left - 1)
        else:
            listener.refuse(None)

    with socket.socket() as connection:

        def come():
            connection.connect(address(sandbox.medusa_origin))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            close_in(steps)

        sandbox._call(come)
        connection.settimeout(PATIENCE)
        with suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
    assert not connects(sandbox.medusa_origin)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two sockets can't have a port")
def test_nobody_else_gets_the_port_while_the_door_closes_and_opens(sandbox):
    port = int(sandbox.medusa_origin.rpartition(":")[2])
    stop, taken = threading.Event(), []

    def grab():
        while not stop.is_set():
            with socket.socket() as other, suppress(OSError):
                other.bind(("127.0.0.1", port))
                taken.append(port)

    grabbing = threading.Thread(target=grab)
    grabbing.start()
    try:
        for _ in range(100):
            sandbox.arm("refuse", seconds=None, origin="medusa")
            sandbox.disarm()
    finally:
        stop.set()
        grabbing.join()
    assert taken == []
