"""Any action of STOQ's live manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from stoq_provider.core.error_text import hide_queries
from stoq_provider.core.notes import ResponseNote
from stoq_provider.core.validation import InvalidInput, check_json, read_mapping
from stoq_provider.exceptions import StoqProviderError, SubmissionUncertain
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.jobs.submit import Submitter
from stoq_provider.systems.stoq.bulk import FAN_OUTS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class StoqActionOperator(BaseOperator):
    """
    Call one action of STOQ that is no bulk job, such as enabling an offer or charging a balance.

    The action is looked up in the live manifest (``GET /help``, 1 point) and its body checked against the
    action's own JSON Schema before anything is sent. The return value is the decoded response.

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
        self.stoq_conn_id = stoq_conn_id

    def execute(self, context: Context) -> Any:
        """Call the action, unless an earlier try may have."""
        with typed(StoqHook.system.name, f"{NOTHING_SENT}; a retry would fail alike"):
            given = self._read()
        hook = StoqHook(self.stoq_conn_id)
        repeat_safe = self.repeat_safe or self.action.strip().upper().startswith("GET ")
        submitter = Submitter.of(hook, context, on_clear="resubmit", log=None if repeat_safe else self.log)
        key = submitter.name(f"action:{self._digest(given)}")
        earlier = submitter.load_note(key, ResponseNote)
        if earlier is not None and not repeat_safe:
            return self._earlier(earlier)
        submitter.save_note(key, ResponseNote())
        try:
            response = hook.call(self.action, **given)
        except StoqProviderError as error:
            if not error.maybe_processed:
                submitter.drop([key])
                raise
            if repeat_safe:
                raise
            problem = SubmissionUncertain(
                f"{error.message} The task is not retried, because a retry would call it again; "
                "repeat_safe=True allows that.",
                **error.details(),
            )
        else:
            self._tell(response)
            clean = without_secrets(response)
            submitter.save_note(key, ResponseNote(answered=True, payload=clean))
            return clean
        finally:
            hook.close()
        raise problem

    def _read(self) -> dict[str, Any]:
        """Return what goes along with the action, with texts that templates rendered read."""
        if not isinstance(self.action, str):
            raise InvalidInput(f"action must be a text, such as 'enable', not {self.action!r}")
        given = {name: read_mapping(getattr(self, name), name) for name in ("path_params", "query", "body")}
        check_json(given["body"], self.action)
        return given

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

    def _tell(self, response: Any) -> None:
        if isinstance(response, Mapping) and response.get("job_id"):
            self.log.info("STOQ started job %s; a StoqJobSensor can wait for it.", response["job_id"])
        elif any(name in self.action for name in FAN_OUTS):
            self.log.warning(
                "%s goes on in the background at STOQ, which gives no handle for it: that it was accepted "
                "does not mean that it is done.",
                self.action,
            )


def without_secrets(value: Any) -> Any:
    """Return a response as XCom may hold it: without download URLs, and URLs without their queries."""
    if isinstance(value, Mapping):
        return {key: without_secrets(item) for key, item in value.items() if key != "download_url"}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return hide_queries(value) if isinstance(value, str) else value
