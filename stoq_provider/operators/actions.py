"""Any action of STOQ's live manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from stoq_provider.core.error_text import hide_queries
from stoq_provider.core.notes import ResponseNote
from stoq_provider.core.validation import read_mapping
from stoq_provider.exceptions import StateError, StoqProviderError, SubmissionUncertain
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs.config import check_options
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.jobs.submit import Submitter
from stoq_provider.links.jobs import StoqAdminLink, push_links
from stoq_provider.systems.stoq.bulk import FAN_OUTS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.http import Request


_GIVEN = ("path_params", "query", "body")
"""What goes along with an action."""

XCOM_BYTES = 48_000
"""What an XCom row should not exceed."""

RECORD_BYTES = 8_000
SHORT_BYTES = 200
"""What a record keeps at most of a response, and of one of its values where the whole is more."""


class StoqActionOperator(BaseOperator):
    """
    Call one action of STOQ that is no bulk job, such as enabling an offer or charging a balance.

    The action is looked up in the live manifest (``GET /help``, 1 point) and its body checked against the
    action's own JSON Schema before anything is sent. The return value is the decoded response. A retry that
    finds that an earlier try had it calls nothing, and returns what a record keeps of it: up to 8 kB, the
    whole, of a longer one its ids and other short values.

    :param action: ``"POST /preorders/offers/:id/enable"``, or a name or alias that fits one action.
    :param path_params: values of the placeholders in the path.
    :param query: the query string.
    :param body: the JSON body.
    :param repeat_safe: whether a retry may call the action again after it is unclear whether the call took
        effect (time-out, reset, 5xx, a lost worker). Otherwise the task fails then and is not retried; that
        a worker was lost is known only where a record can be kept (Airflow 3.3, or ``[stoq] state_path``).
    :param stoq_conn_id: the Airflow connection.
    """

    template_fields: Sequence[str] = ("action", "path_params", "query", "body", "stoq_conn_id")
    template_fields_renderers = dict.fromkeys(("path_params", "query", "body"), "json")
    ui_color = "#f4ead5"
    operator_extra_links = (StoqAdminLink(),)

    def __init__(
        self,
        *,
        action: str,
        path_params: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        repeat_safe: bool = False,
        stoq_conn_id: str = StoqHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.path_params = path_params
        self.query = query
        self.body = body
        self.repeat_safe = repeat_safe
        check_options(self, "repeat_safe")
        self.stoq_conn_id = stoq_conn_id

    def execute(self, context: Context) -> Any:
        """Call the action, unless an earlier try may have."""
        with typed(StoqHook.system.name, f"{NOTHING_SENT}; a retry would fail alike"):
            given = {name: read_mapping(getattr(self, name), name) for name in _GIVEN}
        hook = StoqHook(self.stoq_conn_id)
        push_links(context, self, hook)
        try:
            request = hook.prepare(self.action, **given)
            if request.reads_only or self.repeat_safe:
                # What may be called again needs no record.
                return self._for_xcom(hook.send(request))
            submitter = Submitter.of(hook, context, on_clear="resubmit", log=self.log)
            key = submitter.name(f"action:{self._digest(given)}")
            earlier = submitter.load_note(key, ResponseNote)
            return self._once(hook, request, submitter, key) if earlier is None else self._earlier(earlier)
        finally:
            hook.close()

    def _once(self, hook: StoqHook, request: Request, submitter: Submitter, key: str) -> Any:
        """Call what must not be called twice."""
        submitter.save_note(key, ResponseNote())
        try:
            response = self._for_xcom(hook.send(request))
        except StoqProviderError as error:
            if not error.maybe_processed:
                submitter.drop([key])
                raise
            problem = SubmissionUncertain(
                f"{error.message} The task is not retried, because a retry would call it again; "
                "repeat_safe=True allows that.",
                **error.details(),
            )
        else:
            try:
                submitter.save_note(key, ResponseNote(answered=True, payload=bounded(response)))
            except StateError as error:
                self.log.error("%s was called, but that could not be written down: %s", self.action, error)
            return response
        raise problem

    def _digest(self, given: Mapping[str, Any]) -> str:
        parts = json.dumps([self.action, *given.values()], sort_keys=True, default=str)
        return sha256(parts.encode()).hexdigest()

    def _earlier(self, note: ResponseNote) -> Any:
        if not note.answered:
            raise SubmissionUncertain(
                f"An earlier try was about to call {self.action} and was lost before it had a response. "
                "Whether it took effect is unknown. Nothing was sent now, and the task is not retried. Look "
                "in STOQ; clearing the task calls it again.",
                system=StoqHook.system.name,
            )
        self.log.info("An earlier try called %s and had this response; nothing is sent.", self.action)
        return note.payload

    def _for_xcom(self, response: Any) -> Any:
        """Return the response as XCom may hold it, with a word on what goes on."""
        if isinstance(response, Mapping) and response.get("job_id"):
            self.log.info("STOQ started job %s; a StoqJobSensor can wait for it.", response["job_id"])
        elif any(name in self.action for name in FAN_OUTS):
            self.log.warning(
                "%s goes on in the background at STOQ, which gives no handle for it: that it was accepted "
                "does not mean that it is done.",
                self.action,
            )
        clean = without_secrets(response)
        if self.do_xcom_push and (size := len(json.dumps(clean))) > XCOM_BYTES:
            self.log.warning(
                "The response to %s takes %s kB in XCom. Ask for less of it by query, or call it by StoqHook "
                "in a task that keeps only what is needed.",
                self.action,
                size // 1000,
            )
        return clean


def bounded(response: Any) -> Any:
    """Return what a record keeps of a response: the whole, or of a longer one its own short values."""
    if len(json.dumps(response)) <= RECORD_BYTES:
        return response
    own = response.items() if isinstance(response, Mapping) else ()
    short = [(key, value) for key, value in own if len(json.dumps([key, value])) <= SHORT_BYTES]
    return dict(short[: RECORD_BYTES // SHORT_BYTES])


def without_secrets(value: Any) -> Any:
    """Return a response as XCom may hold it: without download URLs, and URLs without their queries."""
    if isinstance(value, Mapping):
        return {key: without_secrets(item) for key, item in value.items() if key != "download_url"}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return hide_queries(value) if isinstance(value, str) else value
