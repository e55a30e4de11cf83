"""Sensors that wait for jobs which another task, or nobody in Airflow, submitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from stoq_provider.core.validation import InvalidInput
from stoq_provider.jobs.config import check_options
from stoq_provider.jobs.items import watched_ids
from stoq_provider.links.jobs import (
    DestinationLink,
    MedusaAdminLink,
    PrintStudioLink,
    StoqAdminLink,
    SureCartLink,
)
from stoq_provider.sensors.base import JobSensor
from stoq_provider.sensors.from_trigger import start_args
from stoq_provider.triggers.jobs import (
    MedusaJobTrigger,
    PrintStudioJobTrigger,
    StoqJobTrigger,
    SureCartJobTrigger,
)

if TYPE_CHECKING:
    from stoq_provider.core.models import JobHandle
    from stoq_provider.hooks.medusa import MedusaHook
    from stoq_provider.hooks.printstudio import PrintStudioHook
    from stoq_provider.hooks.stoq import StoqHook
    from stoq_provider.hooks.surecart import SureCartHook


class StoqJobSensor(JobSensor["StoqHook"]):
    """
    Wait for STOQ jobs, and store the files of exports.

    A ``status_url`` is followed. A job of which only the id is given is asked for at the endpoint that STOQ
    documents for ids that begin so (``bulk_orders_``, ``bulk_``, ``exp_``), and a line in the log says it.

    :param stoq_conn_id: the Airflow connection.

    The other parameters are those of :class:`JobSensor`.
    """

    template_fields: Sequence[str] = ("job", "destination", "stoq_conn_id")
    ui_color = "#e8f0e4"
    operator_extra_links = (DestinationLink(), StoqAdminLink())
    trigger_class = StoqJobTrigger

    def __init__(self, *, stoq_conn_id: str = "stoq_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stoq_conn_id = stoq_conn_id
        self.start_trigger_args = start_args(self, stoq_conn_id)


class SureCartJobSensor(JobSensor["SureCartHook"]):
    """
    Wait for bulk actions of SureCart; several are asked for in one request.

    :param job: a handle, a list of handles (the operator's return value), a status URL, or an action's id.
    :param surecart_conn_id: the Airflow connection.

    The other parameters are those of :class:`JobSensor`; there is no file to download.
    """

    template_fields: Sequence[str] = ("job", "surecart_conn_id")
    ui_color = "#e8f0e4"
    operator_extra_links = (SureCartLink(),)
    trigger_class = SureCartJobTrigger

    def __init__(self, *, surecart_conn_id: str = "surecart_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.surecart_conn_id = surecart_conn_id
        self.start_trigger_args = start_args(self, surecart_conn_id)


class PrintStudioJobSensor(JobSensor["PrintStudioHook"]):
    """
    Wait until print jobs, or orders, reach a state.

    PrintStudio has no list by ids, so each is asked for by itself, at the pace that the limit allows. A state
    that was passed counts as reached. ``CANCELLED`` (for orders also ``refunded``) is an end and fails the
    task, unless it is waited for. ``FAILED`` is not: an operator may put the print job back into the queue.

    :param print_jobs: ids of print jobs, as a list.
    :param orders: ids of orders as a list; objects with an ``id``; or the return value of
        ``PrintStudioCreateOrdersOperator``. Either ``print_jobs`` or ``orders`` is given, in place of
        ``job``.
    :param target_states: one state or a list, such as ``READY``, in any case; one of them is enough.
    :param fail_on_failed: whether a print job that is ``FAILED`` fails the task at once.
    :param printstudio_conn_id: the Airflow connection.

    The other parameters are those of :class:`JobSensor`; there is no file to download.
    """

    template_fields: Sequence[str] = ("print_jobs", "orders", "target_states", "printstudio_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"print_jobs": "json", "orders": "json"}
    ui_color = "#e8f0e4"
    operator_extra_links = (PrintStudioLink(),)
    trigger_class = PrintStudioJobTrigger

    def __init__(
        self,
        *,
        target_states: Any,
        print_jobs: Any = None,
        orders: Any = None,
        fail_on_failed: bool = False,
        printstudio_conn_id: str = "printstudio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(job=None, **kwargs)
        self.print_jobs = print_jobs
        self.orders = orders
        self.target_states = target_states
        self.fail_on_failed = fail_on_failed
        check_options(self, "fail_on_failed")
        self.printstudio_conn_id = printstudio_conn_id
        self.start_trigger_args = start_args(self, printstudio_conn_id)

    def handles(self) -> list[JobHandle]:
        """Return a handle of each print job or order."""
        from stoq_provider.systems.printstudio.states import ORDER, PRINT_JOB, Goal  # parsing needs no system

        if (self.print_jobs is None) == (self.orders is None):
            raise InvalidInput(
                "either print_jobs or orders is given; where it is another task's output, that pushed nothing"
            )
        course = ORDER if self.print_jobs is None else PRINT_JOB
        goal = Goal.checked(course, self.target_states, fail_on_failed=self.fail_on_failed)
        ids = watched_ids(self.print_jobs if self.print_jobs is not None else self.orders)
        handles = self.hook.system.handles(goal, ids)
        if not handles:
            raise InvalidInput(f"there is nothing to wait for: the list of {course.label} is empty")
        return handles


class MedusaJobSensor(JobSensor["MedusaHook"]):
    """
    Wait for batch jobs of Medusa, and store the files of exports; several are asked for in one request.

    A dry run that waits for a decision is an end too. Medusa shows a user only its own jobs, so the
    connection must be of the user that made them. The sensor cancels nothing.

    :param job: handles, the manifest of the task that made a dry run, a status URL, or a job's id. Of
        several dry runs give handles or a manifest: a list of jobs does not tell them apart (M).
    :param medusa_conn_id: the Airflow connection.

    The other parameters are those of :class:`JobSensor`.
    """

    template_fields: Sequence[str] = ("job", "destination", "medusa_conn_id")
    ui_color = "#e3dcf5"
    operator_extra_links = (DestinationLink(), MedusaAdminLink())
    trigger_class = MedusaJobTrigger

    def __init__(self, *, medusa_conn_id: str = "medusa_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.medusa_conn_id = medusa_conn_id
        self.start_trigger_args = start_args(self, medusa_conn_id)
