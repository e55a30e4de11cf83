"""Every structured argument in every wrong shape: a typed error, and nothing was sent."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import requests_mock
from airflow.providers.common.compat.sdk import AirflowSkipException

from stoq_provider.exceptions import StoqProviderError
from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.hooks.printstudio import PrintStudioHook
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.hooks.surecart import SureCartHook
from stoq_provider.operators.actions import StoqActionOperator
from stoq_provider.operators.bulk import StoqBulkOrdersOperator, StoqBulkVariantsOperator
from stoq_provider.operators.medusa import MedusaBatchJobOperator, MedusaConfirmOperator
from stoq_provider.operators.printstudio import (
    PrintStudioAdvanceJobsOperator,
    PrintStudioCancelJobsOperator,
    PrintStudioCreateOrdersOperator,
    PrintStudioImportSkusOperator,
)
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.operators.surecart import SureCartBulkActionOperator
from stoq_provider.sensors.jobs import (
    MedusaJobSensor,
    PrintStudioJobSensor,
    StoqJobSensor,
    SureCartJobSensor,
)
from stoq_provider.systems.printstudio.states import PRINT_JOB
from tests.harness import TaskRun
from tests.virtual_time import VirtualTime, virtual_time

__all__ = ["virtual_time"]

UUID = str(uuid.UUID(int=1, version=4))
ORDER = {"customerId": "c", "lineItems": [{"skuId": "s", "quantity": 1}]}
HANDLE = {"system": "stoq", "kind": "bulk_release", "job_id": "b", "status_url": "/api/v2/external/x/b"}
BATCH = {"system": "medusa", "kind": "product-export", "job_id": "batch_1", "status_url": "/admin/x/batch_1"}


class Lazy(Sequence):
    """Stands for Airflow's ``LazyXComSequence``, what mapped tasks pushed: a sequence, but no list."""

    def __init__(self, *items):
        self._items = items

    def __len__(self):
        return len(self._items)

    def __getitem__(self, at):
        return self._items[at]


def numpy():
    return pytest.importorskip("numpy")


def pandas():
    return pytest.importorskip("pandas")


def xcom_arg():
    return StoqReportExportOperator(task_id="before", report="revenue").output


WRONG: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "empty text": lambda: "",
    "blank text": lambda: "  ",
    "text": lambda: "gid://shopify/Order/1",
    "url": lambda: "http://files.example/ids",
    "number as text": lambda: "12",
    "none as text": lambda: "None",
    "text with NUL": lambda: "a\0/b",
    "text that is no UTF-8": lambda: "\ud800/x",
    "text of no end": lambda: "[" * 100_000,
    "python of numpy": lambda: "[np.int64(1), np.int64(2)]",
    "number": lambda: 7,
    "fraction": lambda: 1.5,
    "nan": lambda: float("nan"),
    "bool": lambda: True,
    "decimal": lambda: Decimal(1),
    "date": lambda: date(2026, 5, 1),
    "bytes": lambda: b"12",
    "bytearray": lambda: bytearray(b"12"),
    "list of none": lambda: [None],
    "list of lists": lambda: [[1.5]],
    "list of objects": lambda: [object()],
    "mapping with numbers as keys": lambda: {1: 2},
    "mapping with a set": lambda: {"a": {1, 2}},
    "mapping of an object": lambda: {"a": object()},
    "set": lambda: {1.5, "x y"},
    "generator": lambda: (item for item in [object()]),
    "matrix": lambda: numpy().array([[1.5, 2], [3, 4]]),
    "series": lambda: pandas().Series([1.5, 2]),
    "frame": lambda: pandas().DataFrame({"a b": [1, 2]}),
    "object": object,
    "class": lambda: dict,
    "argument of another task": xcom_arg,
}

OPTIONAL = {"none"}
BLANK = {"none", "empty text", "blank text"}
TEXT = {"text", "url", "number as text", "none as text"}
ODD_TEXT = {"python of numpy", "text with NUL", "text that is no UTF-8"}
NUMBERS = {"number", "fraction", "nan", "decimal"}
SCALAR = (TEXT | ODD_TEXT | NUMBERS | {"bool", "date", "text of no end"}) - {"text that is no UTF-8"}
ANY = set(WRONG)

# Class, arguments that are right, and for each of the others the shapes that are right as well. An argument
# ``a.b`` is the key ``b`` of the mapping ``a``.
EXPORT = {"report": "revenue", "filters": {"from": "2026-05-01"}}
TASKS: list[tuple[type, dict[str, Any], dict[str, set[str]]]] = [
    (
        StoqReportExportOperator,
        EXPORT,
        {
            "report": set(),
            "filters": OPTIONAL,
            "filters.from": OPTIONAL | {"date"},
            "filters.granularity": OPTIONAL,
            "filters.offer_ids": OPTIONAL | {"list of none", "list of lists"},
            "window": OPTIONAL | {"empty text"},
            "timezone": ANY,  # only read where there is a window
            "extra_body": OPTIONAL,
            "extra_query": OPTIONAL,
        },
    ),
    (
        StoqBulkOrdersOperator,
        {"action": "set_tags", "order_ids": [1], "body": {"tags": ["late"]}},
        {
            "action": set(),
            "order_ids": set(),
            "order_ids.path": set(),
            "order_ids.state": SCALAR - {"none as text"},
            "body": set(),
            "body.tags": set(),
            "extra_body": OPTIONAL,
            "extra_query": OPTIONAL,
        },
    ),
    (
        StoqBulkVariantsOperator,
        {"action": "sync_metafields", "variant_ids": [1]},
        {
            "action": set(),
            "variant_ids": set(),
            "body": OPTIONAL,
            "extra_body": OPTIONAL,
            "extra_query": OPTIONAL,
        },
    ),
    (
        StoqActionOperator,
        {"action": "POST /x/:id", "path_params": {"id": "1"}},
        {
            "action": set(),
            "path_params": set(),
            "path_params.id": SCALAR | {"blank text"},
            "query": OPTIONAL,
            "query.a": SCALAR | BLANK,
            "body": OPTIONAL,
        },
    ),
    (
        MedusaBatchJobOperator,
        {"job_type": "product-export"},
        {
            "job_type": TEXT | ODD_TEXT,
            "context": OPTIONAL,
            "confirm": BLANK | {"none as text"},
            "source": OPTIONAL,
        },
    ),
    (MedusaConfirmOperator, {"job": BATCH}, {"job": set(), "confirm": {"bool"}}),
    (
        SureCartBulkActionOperator,
        {"action_type": "delete_customers", "record_ids": [UUID]},
        {"action_type": set(), "record_ids": set(), "extra_body": OPTIONAL},
    ),
    (PrintStudioCreateOrdersOperator, {"orders": [ORDER]}, {"orders": set(), "extra_body": OPTIONAL}),
    (
        PrintStudioImportSkusOperator,
        {"skus": [{"id": "s"}], "mode": "upsert"},
        {"skus": set(), "mode": set(), "extra_body": OPTIONAL},
    ),
    (
        PrintStudioAdvanceJobsOperator,
        {"job_ids": ["j"], "target_status": "READY"},
        {"job_ids": set(), "target_status": set(), "extra_body": OPTIONAL},
    ),
    (
        PrintStudioCancelJobsOperator,
        {"job_ids": ["j"], "reason": "late"},
        {"job_ids": set(), "reason": TEXT | ODD_TEXT | {"text of no end"}, "extra_body": OPTIONAL},
    ),
    (StoqJobSensor, {"job": HANDLE}, {"job": set()}),
    (SureCartJobSensor, {"job": UUID}, {"job": set()}),
    (MedusaJobSensor, {"job": BATCH}, {"job": set()}),
    (
        PrintStudioJobSensor,
        {"print_jobs": "j", "target_states": "READY"},
        {"print_jobs": TEXT - {"none as text"}, "target_states": set()},
    ),
    (PrintStudioJobSensor, {"orders": "o", "target_states": "READY"}, {"orders": TEXT - {"none as text"}}),
]
ARGUMENTS = [
    pytest.param(cls, right, name, takes[name], id=f"{cls.__name__}-{name}")
    for cls, right, takes in TASKS
    for name in takes
]


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch, virtual_time: VirtualTime) -> None:
    for system in ("stoq", "medusa", "surecart", "printstudio"):
        about = {"conn_type": system, "host": f"{system}.example", "password": "k" * 30}
        monkeypatch.setenv(f"AIRFLOW_CONN_{system.upper()}_DEFAULT", json.dumps(about))


@pytest.fixture
def servers() -> Iterator[requests_mock.Mocker]:
    """Answer whatever is asked with what each system says to a submission or of a job that is done."""
    with requests_mock.Mocker() as mocker:
        mocker.register_uri(requests_mock.ANY, requests_mock.ANY, json=_answer)
        yield mocker


def _answer(request: Any, context: Any) -> Any:
    if request.path.endswith("/help"):
        return {"actions": [{"name": "x", "method": "POST", "path": "/x/:id"}]}
    return {
        "batch_job": {"status": "completed", **({"id": "batch_1"} if request.method == "POST" else {})},
        "id" if request.method == "POST" else "_": UUID,
        "job_id" if request.method == "POST" else "_": "b",
        "status_url": "/api/v2/external/x/b",
        "status": "SHIPPED" if request.hostname == "printstudio.example" else "succeeded",
        "created": 1,
        "reports": [{"name": "revenue"}],
        "orders": [{"shopify_order_id": 1}],
        "meta": {"total_pages": 1},
    }


def given(name: str, value: Any) -> dict[str, Any]:
    name, _, key = name.partition(".")
    return {name: {key: value} if key else value}


def outcome(call: Callable[[], Any], servers: requests_mock.Mocker) -> str:
    """Tell how a call ended: ``taken``, ``refused``, or what is wrong with the refusal."""
    servers.reset_mock()
    try:
        call()
    except AirflowSkipException:
        return "skipped"
    except StoqProviderError as error:
        sent = [request.method for request in servers.request_history if request.method != "GET"]
        return f"{sent} sent before: {error}" if sent else "refused" if len(str(error)) < 700 else str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "taken"


@pytest.mark.parametrize(("cls", "right", "name", "takes"), ARGUMENTS)
def test_operators_and_sensors(servers, cls, right, name, takes):
    found = {}
    for shape, make in WRONG.items():
        task = cls(task_id="t", **right)
        # Past Airflow, which would make a dependency of another task's output.
        vars(task).update(given(name, make()))
        if hasattr(task, "wait_for_completion"):
            task.wait_for_completion = False
        found[shape] = outcome(TaskRun(lambda task=task: task).execute, servers)
    expected = {shape: "taken" if shape in takes else "refused" for shape in WRONG}
    assert {shape: found[shape] for shape in WRONG if found[shape] != expected[shape]} == {}


GOOD: dict[str, Callable[[Any], Any]] = {
    "list": lambda item: [item],
    "tuple": lambda item: (item,),
    "what mapped tasks pushed": Lazy,
    "generator": lambda item: (one for one in [item]),
    "keys": lambda item: {item: 0}.keys(),
    "set": lambda item: {item},
    "json": lambda item: json.dumps([item]),
    "python as text": lambda item: f" {[item]!r}",
    "array": lambda item: numpy().array([item]),
    "series": lambda item: pandas().Series([item]),
}
OBJECTS = (ORDER, {"id": "s"})
GOOD_OF_OBJECTS = [shape for shape in GOOD if shape not in ("keys", "set")]
LISTS = [
    (StoqBulkOrdersOperator, {"action": "release"}, "order_ids", 7),
    (StoqBulkVariantsOperator, {"action": "sync_metafields"}, "variant_ids", 7),
    (SureCartBulkActionOperator, {"action_type": "delete_customers"}, "record_ids", UUID),
    (PrintStudioAdvanceJobsOperator, {"target_status": "READY"}, "job_ids", "j"),
    (PrintStudioCancelJobsOperator, {"reason": "late"}, "job_ids", "j"),
    (PrintStudioCreateOrdersOperator, {}, "orders", ORDER),
    (PrintStudioImportSkusOperator, {"mode": "upsert"}, "skus", {"id": "s"}),
]


@pytest.mark.parametrize(
    ("cls", "more", "name", "item", "shape"),
    # An object is in no set.
    [(*given, shape) for given in LISTS for shape in (GOOD_OF_OBJECTS if given[-1] in OBJECTS else GOOD)],
)
def test_a_list_in_any_form_is_sent_as_a_list(servers, cls, more, name, item, shape):
    values = GOOD[shape](item)
    task = cls(task_id="t", wait_for_completion=False, **more, **{name: values})
    assert outcome(TaskRun(lambda: task).execute, servers) == "taken"
    (body,) = [request.json() for request in servers.request_history if request.method == "POST"]
    assert [item] in [*body.values(), *body.get("bulk_action", {}).values()]


@pytest.mark.parametrize("job", [HANDLE, HANDLE["status_url"], "bulk_1", {"job_id": "bulk_1"}])
@pytest.mark.parametrize("shape", GOOD_OF_OBJECTS)
def test_jobs_in_any_form_are_waited_for(servers, job, shape):
    task = StoqJobSensor(task_id="t", job=GOOD[shape](job))
    servers.get(requests_mock.ANY, json={"status": "completed"})
    assert outcome(TaskRun(lambda: task).execute, servers) == "taken"


def _calls(value: Any) -> list[Callable[[], Any]]:
    """Return every public method of a hook that takes something structured, called with it."""
    stoq, medusa, cart, studio = StoqHook(), MedusaHook(), SureCartHook(), PrintStudioHook()
    calls: list[Callable[[], Any]] = []
    for hook in (stoq, medusa, cart, studio):
        calls += [
            lambda hook=hook: hook.get_job(value),
            lambda hook=hook: hook.download(value, "/nowhere/"),
            lambda hook=hook: hook.request(value, "/x"),
            lambda hook=hook: hook.request("POST", value),
            lambda hook=hook: hook.request("POST", "/x", params={"a": [value]}),
            lambda hook=hook: hook.request("POST", "/x", json=[{1, 2}, value]),
        ]
    calls += [
        lambda: stoq.submit_orders(value, [1]),
        lambda: stoq.submit_orders("release", value),
        lambda: stoq.submit_orders("set_tags", [1], tags=value),
        lambda: stoq.submit_variants("sync_metafields", value),
        lambda: stoq.submit_export(value),
        lambda: stoq.submit_export("by_variant", {"offer_id": "o", "offer_ids": value, "from": [value]}),
        lambda: stoq.submit_export("revenue", extra_body=[value]),
        lambda: list(stoq.iter_orders(offer_id=[value])),
        lambda: stoq.call(value),
        lambda: stoq.call("POST /x/:id", path_params={"id": [value]}),
        lambda: stoq.call("POST /x/:id", path_params={"id": 1}, query={"a": [value]}),
        lambda: stoq.call("POST /x/:id", path_params={"id": 1}, body=[value]),
        lambda: medusa.submit_batch_job(value),
        lambda: medusa.submit_batch_job("product-export", [value]),
        lambda: medusa.confirm(value),
        lambda: medusa.cancel(value),
        lambda: medusa.upload(value),
        lambda: list(medusa.iter_jobs(other=[value])),
        lambda: cart.submit_bulk_action(value, [UUID]),
        lambda: cart.submit_bulk_action("delete_customers", value),
        lambda: cart.get_bulk_action(value),
        lambda: list(cart.iter_existing(value, [UUID])),
        lambda: list(cart.iter_existing("delete_customers", value)),
        lambda: studio.create_orders(value),
        lambda: studio.import_skus(value),
        lambda: studio.import_skus([{"id": "s"}], value),
        lambda: studio.advance_jobs(value, "READY"),
        lambda: studio.advance_jobs(["j"], value),
        lambda: studio.cancel_jobs(value, "late"),
        lambda: studio.cancel_jobs(["j"], [value]),
        lambda: studio.get_print_job([value]),
        lambda: studio.get_order([value]),
        lambda: list(studio.iter_states(PRINT_JOB, value)),
    ]
    return calls


@pytest.mark.parametrize("shape", [shape for shape in WRONG if shape not in SCALAR | BLANK | ODD_TEXT])
def test_hooks(servers, shape):
    make = WRONG[shape]
    found = {number: outcome(_calls(make())[number], servers) for number in range(len(_calls(None)))}
    assert {number: found[number] for number in found if found[number] != "refused"} == {}
