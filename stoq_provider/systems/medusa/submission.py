"""
What may stand in a batch job of Medusa v1, checked before anything is sent.

Medusa checks that ``context`` is an object and nothing inside of it (M), so what would make it
loop, crash or fall silent is refused here. What keys a filter may have depends on the shop's models and can't
be checked: a wrong one is taken with 201 and fails the job (M).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoq_provider.core.submission import Preparation, Submission
from stoq_provider.core.validation import InvalidInput, check_json, is_text, read_mapping

CORRELATION = "airflow_correlation"
"""Key of ``context`` under which a submission carries its mark; the server keeps it untouched (M)."""

DRY_RUN = ":dry_run"
"""Ends the kind of a job that waits for a decision: a list of jobs does not tell (M)."""

PATH = "/admin/batch-jobs"
LARGEST_BODY = 100_000
"""Bytes of JSON. The server takes 100 kB, else it refuses it (413, M); our mark and a file key need some."""

FILE_KEY = "fileKey"
IMPORTS = ("product-import", "price-list-import")
"""Built-in types that read a file (S)."""

REFUSED_KEYS: Mapping[str, str] = {
    "batch_size": (
        "it caps the whole export, and where it exceeds the number of matches the server loops for ever in "
        "its pre-processing; 'limit' sets the size of a page"
    ),
    "list_config": (
        "the server overwrites it with one of its own, made of filterable_fields, limit, offset, order, "
        "fields and expand; give those instead"
    ),
    "shape": "the server works it out itself and overwrites what is sent",
    CORRELATION: "it is set by this package, to find the job again when a response is lost",
}
"""Keys of ``context`` that are not sent, and why (M)."""


def submission(
    job_type: str,
    context: Mapping[str, Any] | None = None,
    *,
    dry_run: bool = False,
    source: str | None = None,
    preparation: Preparation | None = None,
) -> Submission:
    """
    Check a batch job and return what would be sent.

    :param job_type: ``product-export``, ``order-export``, ``product-import``, ``price-list-import``, or a
        plugin's own.
    :param source: the file an import reads; ``preparation`` uploads it and sets the file key.
    :raises InvalidInput: with the reason.
    """
    if not is_text(job_type):
        raise InvalidInput("job_type must be a text, such as 'product-export'")
    if not isinstance(dry_run, bool):
        raise InvalidInput(f"dry_run must be true or false, not {dry_run!r:.80}")
    job_type = job_type.strip()
    checked = check_context(job_type, context, has_source=source is not None)
    body: dict[str, Any] = {"type": job_type, "context": checked}
    if dry_run:
        body["dry_run"] = True
    _check_size(body)
    return Submission(
        kind=job_type + (DRY_RUN if dry_run else ""),
        path=PATH,
        body=body,
        source=source,
        preparation=preparation,
    )


def check_context(job_type: str, context: Any, *, has_source: bool) -> dict[str, Any]:
    """
    Return the context as it is sent.

    :param context: as :func:`~stoq_provider.core.validation.read_mapping` takes it.
    :param has_source: whether the file key comes from an upload that is still to be made.
    :raises InvalidInput: naming the key and the reason.
    """
    context = read_mapping(context, "context") or {}
    for key, reason in REFUSED_KEYS.items():
        if key in context:
            raise InvalidInput(f"context must not have {key!r}: {reason}")
    _check_file(job_type, context, has_source)
    if job_type == "price-list-import" and not is_text(context.get("price_list_id")):
        raise InvalidInput(
            "price-list-import needs 'price_list_id' in context; without it the server refuses"
        )
    return dict(context)


def _check_file(job_type: str, context: Mapping[str, Any], has_source: bool) -> None:
    if has_source and job_type.endswith("-export"):
        raise InvalidInput(f"{job_type} reads no file; source is for imports")
    if has_source and FILE_KEY in context:
        raise InvalidInput(f"give either source, which is uploaded, or {FILE_KEY!r} in context, not both")
    if has_source:
        return
    missing = job_type in IMPORTS and FILE_KEY not in context
    if missing or (FILE_KEY in context and not is_text(context[FILE_KEY])):
        raise InvalidInput(
            f"{job_type} needs source, or the key of an uploaded file as {FILE_KEY!r} in context; the server "
            "does not check it, and with its own file store its process dies of a missing one"
        )


def _check_size(body: Mapping[str, Any]) -> None:
    size = len(check_json(body, str(body["type"])))
    if size > LARGEST_BODY:
        raise InvalidInput(
            f"the job would be {size:,} bytes of JSON; the server takes less than {LARGEST_BODY:,}. Let a "
            "filter say what a list of ids says, or make several jobs of it"
        )


def with_file(submission: Submission, file_key: str) -> dict[str, Any]:
    """Return the body of a submission with the key of the file to read."""
    return {**submission.body, "context": {**submission.body["context"], FILE_KEY: file_key}}


def job_type_of(kind: str) -> str:
    """Return the type of a job of that kind."""
    return kind.removesuffix(DRY_RUN)


def is_export(job_type: str) -> bool:
    """Whether a type only reads: the built-in ones do (S); a plugin's with such a name will (I)."""
    return job_type.endswith("-export")
