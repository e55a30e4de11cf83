"""``StoqActionOperator`` against the sandbox: any action of the live manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.exceptions import (
    ActionRejected,
    AuthenticationError,
    RateLimited,
    ServiceUnavailable,
    StoqProviderError,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.operators.actions import StoqActionOperator
from stoq_provider.testing import Sandbox
from tests.harness import TaskRun
from tests.unit.hooks.conftest import CONN

ENABLE = "POST /preorders/offers/:id/enable"
RELEASE = "POST /preorders/orders/:id/release"
ADD = "POST /preorders/offers/:id/products/add_variants"
CHARGE = "POST /preorders/orders/:id/payments/charge_balance"


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(time_scale=0) as running:
        yield running


@pytest.fixture
def sandbox(server, virtual_time, monkeypatch):
    server.reset()
    virtual_time.drives(server)
    connection = {"conn_type": "stoq", "host": server.origin, "password": server.key}
    monkeypatch.setenv(CONN, json.dumps({**connection, "extra": {"timeout": 60}}))
    return server


def call(action, **options):
    return TaskRun(lambda: StoqActionOperator(task_id="call", action=action, **options)).execute()


def order(state):
    return next(iter(StoqHook().iter_orders(state=state)))["shopify_order_id"]


def disabled_offer():
    return next(iter(StoqHook().iter_offers(status="disabled")))["id"]


def writes(sandbox):
    return {name: count for name, count in sandbox.state["requests"].items() if not name.startswith("GET")}


@pytest.mark.parametrize(
    "action",
    [
        ENABLE,
        "post /preorders/offers/{id}/enable",
        "POST /preorders/offers/:offer/enable",
        "enable",
        "activate",
    ],
)
def test_an_offer_is_enabled_by_method_and_path_by_name_or_by_alias(sandbox, action, logs):
    offer = disabled_offer()
    assert call(action, path_params={"id": offer})["status"] == "enabled"
    assert writes(sandbox) == {ENABLE: 1}
    assert not logs.warnings("goes on in the background")


def test_a_fan_out_says_that_it_goes_on(sandbox, logs):
    offer, variant = disabled_offer(), next(iter(StoqHook().iter_variants()))["shopify_variant_id"]
    answer = call(ADD, path_params={"id": offer}, body={"variant_ids": [variant]})
    assert answer == {"offer_id": offer, "accepted": 1}
    assert logs.warnings("goes on in the background at STOQ, which gives no handle for it")


def test_a_bulk_action_called_directly_names_its_job(sandbox, logs):
    answer = call("POST /preorders/orders/bulk_release", body={"order_ids": [1]})
    assert f"STOQ started job {answer['job_id']}; a StoqJobSensor can wait for it" in logs.text


def test_release_of_one_order_is_refused_until_it_is_forced(sandbox):
    held = order("awaiting_balance")
    with pytest.raises(ActionRejected, match=r"Balance is not collected.*pass force: true") as caught:
        call(RELEASE, path_params={"id": held})
    assert not isinstance(caught.value, AirflowFailException)
    assert call(RELEASE, path_params={"id": held}, body={"force": True})["state"] == "released"


def test_charge_balance_and_charging_it_twice(sandbox):
    held = order("awaiting_balance")
    assert call(CHARGE, path_params={"id": held})["state"] == "balance_collected"
    with pytest.raises(ActionRejected, match="no outstanding balance"):
        call("charge_balance", path_params={"id": held})


def test_a_read_is_an_action_too(sandbox):
    rows = call("GET /preorders/orders", query={"state": "placed", "per_page": 5})
    assert len(rows["orders"]) <= 5
    assert writes(sandbox) == {}


@pytest.mark.parametrize(
    ("action", "options", "words"),
    [
        (
            ADD,
            {"path_params": {"id": "o"}, "body": {"variant_ids": ["x", 1]}},
            "refuses this body in 1 points.*variant_ids.0",
        ),
        (ADD, {"path_params": {"id": "o"}, "body": {}}, "'variant_ids' is a required property"),
        (RELEASE, {"path_params": {"id": 1}, "body": {"force": "yes"}}, "force"),
        (RELEASE, {}, "missing: .'id'."),
        (RELEASE, {"path_params": {"id": 1, "ie": 2}}, "unknown: .'ie'."),
        (RELEASE, {"path_params": {"id": ".."}}, "missing: .'id'."),
        (
            "POST /preorders/orders/:id/releese",
            {},
            "no action .*did you mean 'POST /preorders/orders/:id/release'",
        ),
        ("enabel", {}, "no action 'enabel'; did you mean 'enable'"),
        ("list", {}, "fits 4 actions; name one by method and path"),
        ("read", {}, r"fits 3 actions.*GET /preorders/offers/:id"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sent(sandbox, action, options, words):
    with pytest.raises(ValidationRejected, match=words) as caught:
        call(action, **options)
    assert "Nothing was sent" in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert set(sandbox.state["requests"]) == {"GET /help"}


@pytest.mark.parametrize("action", ["POST /nowhere/at/all", "POST /preorders/ordres/:id/release"])
def test_an_action_in_a_scope_that_does_not_exist(sandbox, action):
    with pytest.raises(StoqProviderError, match=r"No v2 action registered|no action") as caught:
        call(action, path_params={"id": 1})
    assert isinstance(caught.value, AirflowFailException)
    assert writes(sandbox) == {}


def test_a_record_that_does_not_exist_is_final(sandbox):
    with pytest.raises(ValidationRejected, match="Order not found") as caught:
        call(RELEASE, path_params={"id": 5})
    assert caught.value.http_status == 404


AMBIGUOUS = [
    ("reset_after", {}, True),
    ("delay", {"seconds": None, "processed": True}, True),
    ("status", {"status": 502}, False),
]


@pytest.mark.parametrize(("fault", "options", "done"), AMBIGUOUS, ids=["reset", "timeout", "502"])
@pytest.mark.parametrize("repeat_safe", [False, True])
def test_an_ambiguous_write_is_final_unless_it_is_safe_to_repeat(sandbox, fault, options, done, repeat_safe):
    held = order("awaiting_balance")
    sandbox.arm(fault, path="charge_balance$", **options)
    with pytest.raises(StoqProviderError, match="Whether it took effect is unknown") as caught:
        call(CHARGE, path_params={"id": held}, repeat_safe=repeat_safe)
    assert type(caught.value) is (ServiceUnavailable if repeat_safe else SubmissionUncertain)
    assert isinstance(caught.value, AirflowFailException) is not repeat_safe
    assert ("not retried" in str(caught.value)) is not repeat_safe
    assert writes(sandbox).get(CHARGE, 0) == done


def test_a_write_that_surely_was_not_processed_may_be_retried(sandbox):
    sandbox.arm("status", status=429, headers={"Retry-After": "0"}, path="/enable$", times=2)
    assert call(ENABLE, path_params={"id": disabled_offer()})["status"] == "enabled"


def test_a_write_that_surely_did_nothing_is_made_by_the_retry(sandbox):
    run = running(ENABLE, path_params={"id": disabled_offer()})
    sandbox.arm("status", status=429, headers={"Retry-After": "0"}, path="/enable$", times=None)
    with pytest.raises(RateLimited):
        run.execute()
    assert run.store.rows == {}
    sandbox.disarm()
    assert run.retry()["status"] == "enabled"


@pytest.mark.parametrize("path", ["/help$", "/enable$"])
def test_a_refused_key_is_final(sandbox, path):
    sandbox.arm("status", status=401, path=path)
    with pytest.raises(AuthenticationError):
        call("enable", path_params={"id": "x"})
    assert writes(sandbox) == {}


def test_a_manifest_that_cannot_be_had_is_a_read_that_may_be_retried(sandbox):
    sandbox.arm("status", status=500, path="/help$", times=None)
    with pytest.raises(ServiceUnavailable, match="It was a read"):
        call("enable", path_params={"id": "x"})


def test_arguments_are_templates():
    assert set(StoqActionOperator.template_fields) >= {
        "action",
        "path_params",
        "query",
        "body",
        "stoq_conn_id",
    }
    assert set(StoqActionOperator.template_fields_renderers.values()) == {"json"}


@pytest.mark.parametrize("field", ["path_params", "query", "body"])
@pytest.mark.parametrize("value", ["", "None", "[1]", "x", ["x"], 7])
def test_what_is_no_mapping_is_refused_by_name_and_not_retried(sandbox, field, value):
    with pytest.raises(ValidationRejected, match=rf"^{field} .*Nothing was sent") as caught:
        call(RELEASE, **{"path_params": {"id": 1}, field: value})
    assert isinstance(caught.value, AirflowFailException)
    assert sandbox.state["requests"] == {}


@pytest.mark.parametrize("action", [None, 7, ["enable"]])
def test_an_action_that_is_no_text_is_refused(sandbox, action):
    with pytest.raises(ValidationRejected, match=r"^action must be a text"):
        call(action)
    assert sandbox.state["requests"] == {}


@pytest.mark.parametrize("write", [json.dumps, repr])
def test_mappings_as_text_are_read(sandbox, write):
    held = order("awaiting_balance")
    answer = call(RELEASE, path_params=write({"id": held}), body=write({"force": True}), query=write({}))
    assert answer["state"] == "released"


def test_text_and_mapping_are_the_same_call_to_the_next_try(sandbox):
    held = order("awaiting_balance")
    run = TaskRun(lambda: StoqActionOperator(task_id="call", action=CHARGE, path_params={"id": held}))
    first = run.execute()
    run.changes = {"path_params": json.dumps({"id": held})}
    assert run.retry() == first
    assert writes(sandbox)[CHARGE] == 1


# -- what is kept ---------------------------------------------------------------------------------------


def running(action, **options):
    return TaskRun(lambda: StoqActionOperator(task_id="call", action=action, **options))


def answer(monkeypatch, payload):
    """Let STOQ answer every call with this."""
    monkeypatch.setattr(StoqHook, "send", lambda hook, request: payload)


@pytest.mark.parametrize("action", ["GET /preorders/orders", "get /preorders/orders/", "summary"])
def test_a_read_keeps_no_record_whether_by_path_or_by_name(sandbox, action):
    run = running(action)
    first = run.execute()
    assert run.store.rows == {}
    run.store.broken = True
    assert run.retry() == first


def test_a_write_that_is_safe_to_repeat_keeps_no_record_and_is_called_again(sandbox):
    offer = disabled_offer()
    run = running(ENABLE, path_params={"id": offer}, repeat_safe=True)
    run.execute()
    assert run.store.rows == {}
    run.retry()
    assert writes(sandbox) == {ENABLE: 2}


def test_an_action_that_does_not_fit_leaves_no_record(sandbox):
    run = running("enabel")
    with pytest.raises(ValidationRejected):
        run.execute()
    assert run.store.rows == {}


LONG = {
    "id": 7,
    "status": "released",
    "job_id": None,
    "line_items": [{"sku": "x" * 40}] * 5000,
    "note": "x" * 100_000,
    "shop": {"name": "s", "plan": {"limits": "x" * 9000}},
}


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        ({"id": 7, "items": [1, 2]}, {"id": 7, "items": [1, 2]}),
        (None, None),
        ("ok", "ok"),
        (LONG, {"id": 7, "status": "released", "job_id": None}),
        ([LONG], {}),
        ("x" * 100_000, {}),
        ({f"key_{n}": n for n in range(10_000)}, {f"key_{n}": n for n in range(40)}),
    ],
    ids=["short", "nothing", "text", "long", "list", "long text", "many keys"],
)
def test_a_record_of_a_write_is_bounded_and_a_retry_returns_it(sandbox, monkeypatch, payload, kept):
    run = running(CHARGE, path_params={"id": 7})
    answer(monkeypatch, payload)
    assert run.execute() == payload
    assert len("".join(run.store.rows.values())) < 9000
    answer(monkeypatch, "called twice")
    assert run.retry() == kept


def test_a_write_whose_response_can_not_be_kept_has_succeeded_all_the_same(sandbox, monkeypatch, logs):
    run = running(ENABLE, path_params={"id": disabled_offer()})

    def send(hook, request):
        run.store.broken = True
        return {"id": 7}

    monkeypatch.setattr(StoqHook, "send", send)
    assert run.execute() == {"id": 7}
    assert logs.warnings("enable was called, but that could not be written down")


@pytest.mark.parametrize(("push", "warned"), [(True, 1), (False, 0)])
def test_a_response_that_is_much_for_xcom_is_warned_of(sandbox, monkeypatch, logs, push, warned):
    answer(monkeypatch, {"orders": ["x" * 100] * 1000})
    running("GET /preorders/orders", do_xcom_push=push).execute()
    assert len(logs.warnings("takes 104 kB in XCom")) == warned


def test_a_response_of_the_usual_size_is_not(sandbox, logs):
    call("GET /preorders/orders", query={"per_page": 5})
    assert not logs.warnings("in XCom")
