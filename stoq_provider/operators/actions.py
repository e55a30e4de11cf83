"""Any action of STOQ's live manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from stoq_provider.core.actions import FAN_OUTS
from stoq_provider.exceptions import StoqProviderError, SubmissionUncertain
from stoq_provider.hooks.stoq import StoqHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class StoqActionOperator(BaseOperator):
    """
    Call one action of STOQ that is no bulk job, such as enabling an offer or charging a balance.

    The action is looked up in the live manifest (``GET /help``, 1 point) and its body checked against the
    action's own JSON Schema before anything is sent. The return value is the decoded answer.

    :param action: ``"POST /preorders/offers/:id/enable"``, or a name or alias that fits one action.
    :param path_params: values of the placeholders in the path.
    :param query: the query string.
    :param body: the JSON body.
    :param repeat_safe: whether a retry may call the action again after it is unclear whether the call took
        effect (time-out, reset, 5xx). Otherwise the task fails then and is not retried.
    :param stoq_conn_id: the Airflow connection.
    """

    template_fields: Sequence[str] = ("action", "path_params", "query", "body", "stoq_conn_id")
    template_fields_renderers: Mapping[str, str] = {"path_params": "json", "query": "json", "body": "json"}
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
        """Call the action."""
        hook = StoqHook(self.stoq_conn_id)
        try:
            answer = hook.call(self.action, path_params=self.path_params, query=self.query, body=self.body)
        except StoqProviderError as error:
            if self.repeat_safe or not error.maybe_processed:
                raise
            problem = SubmissionUncertain(
                f"{error.message} The task is not retried, because a retry would call it again; "
                "repeat_safe=True allows that.",
                **error.details(),
            )
        else:
            self._tell(answer)
            return answer
        finally:
            hook.close()
        raise problem

    def _tell(self, answer: Any) -> None:
        if isinstance(answer, Mapping) and answer.get("job_id"):
            self.log.info("STOQ started job %s; a StoqJobSensor can wait for it.", answer["job_id"])
        elif any(name in self.action for name in FAN_OUTS):
            self.log.warning(
                "%s goes on in the background at STOQ, which gives no handle for it: that it was accepted "
                "does not mean that it is done.",
                self.action,
            )
