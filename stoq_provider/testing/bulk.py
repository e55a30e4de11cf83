"""Starting jobs and answering for them."""

from __future__ import annotations

from collections.abc import Callable

from stoq_provider.testing.actions import ApiError, Call, JsonObject
from stoq_provider.testing.jobs import BULK_SECONDS, BULK_SECONDS_PER_ITEM, OUTCOMES, Family, Job
from stoq_provider.testing.world import BASE_PATH

Apply = Callable[[int], bool]
STATUS_PATHS: dict[Family, str] = {
    "orders": "/preorders/orders/jobs",
    "variants": "/preorders/product_variants/jobs",
    "exports": "/preorders/reports/exports",
}


def start_job(
    call: Call,
    kind: str,
    family: Family,
    *,
    items: list[int],
    apply: Apply,
    duration: float,
    prefix: str | None = None,
    names: tuple[str, ...] = (),
    finish: Callable[[Job], None] = lambda job: None,
) -> Job:
    """Start a job as the settings of the sandbox want it, and note the submission."""
    book = call.world.jobs
    settings = book.settings_for(kind, *names)
    job = Job(
        job_id=book.new_id(prefix or kind),
        kind=kind,
        family=family,
        path=call.path,
        key=call.tenant.key,
        created_at=call.world.clock.now(),
        duration=settings.get("duration", duration),
        items=list(items),
        apply=apply,
        finish=finish,
        outcome=OUTCOMES[settings.get("outcome") or "completed"],
        settings=settings,
    )
    book.add(job)
    entry: JsonObject = {"kind": kind, "path": call.path, "body": call.params}
    if items:
        entry["ids"] = list(items)
    entry["job_id"] = None if family == "hidden" else job.job_id
    call.world.counters.submissions.append(entry)
    return job


def start_bulk(call: Call, kind: str, family: Family, ids_key: str, apply: Apply) -> JsonObject:
    """Start a bulk job over the ids of the body. Documented: the response, with a count of the ids."""
    items = call.params[ids_key]
    job = start_job(call, kind, family, items=items, apply=apply, duration=_duration(items))
    return handle(job) | {ids_key.replace("_ids", "_count"): len(items)}


def start_hidden(call: Call, kind: str, items: list[int], apply: Apply) -> None:
    """Fan out without a handle. Invented: a second fan-out meanwhile is refused, as v1 did."""
    if call.world.jobs.busy(call.path, call.tenant.key):
        raise ApiError(409, "Another job is in progress for this offer. Try again later.")
    start_job(call, kind, "hidden", items=items, apply=apply, duration=_duration(items))


def _duration(items: list[int]) -> float:
    return BULK_SECONDS + BULK_SECONDS_PER_ITEM * len(items)


def handle(job: Job) -> JsonObject:
    """Documented: job id and host-relative status URL."""
    return {
        "job_id": job.job_id,
        "status_url": f"{BASE_PATH}{STATUS_PATHS[job.family]}/{job.job_id}",
    }


def job_of(call: Call, family: Family) -> Job:
    """The job of the path. Invented: wording of the 404, and that a job of another family has one too."""
    job = call.world.jobs.find(call.path_params["job_id"], family, call.tenant.key)
    if job is None:
        raise ApiError(404, "Job not found or expired")
    return job


def bulk_status(call: Call, family: Family) -> JsonObject:
    """Documented: status of a bulk job."""
    job = job_of(call, family)
    status = {
        "job_id": job.job_id,
        "status": job.status,
        "progress": job.progress,
        "total": len(job.items),
        "processed": job.processed,
    }
    return status if job.error is None else status | {"error": job.error}


def export_status(call: Call) -> JsonObject:
    """Documented: status of an export when ready. Invented: no total and processed while it runs."""
    job = job_of(call, "exports")
    status: JsonObject = {"job_id": job.job_id, "status": job.status}
    if job.status == "ready" and job.file_path is not None:
        status["download_url"] = call.world.signed_url(
            call.host, job.file_path, job.settings.get("url_expires")
        )
        status["file_name"] = job.file_name
        status["row_count"] = job.row_count
    status["progress"] = job.progress
    return status if job.error is None else status | {"error": job.error}
