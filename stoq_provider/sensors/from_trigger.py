"""
What Airflow 3.3 needs to start a sensor in the triggerer, before any worker.

The scheduler makes the trigger of what the DAG says, and the triggerer renders ``job`` in it. All else must
be known as the DAG is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, StartTriggerArgs

from stoq_provider.exceptions import ValidationRejected
from stoq_provider.jobs import config
from stoq_provider.triggers.deferral import BACKSTOP

if TYPE_CHECKING:
    from stoq_provider.sensors.base import JobSensor


def start_args(sensor: JobSensor[Any], conn_id: str) -> StartTriggerArgs | None:
    """
    Return with what a sensor starts in the triggerer; ``None``: it starts on a worker.

    ``start`` holds the ``seconds`` of the wait, the parameter that sets them (``limit``), and the ``margin``
    after which Airflow gives up, which is always the later one.

    :raises ValidationRejected: where it can't start there.
    """
    # A mapped task is made on its worker, of values that no triggerer has to render.
    if not sensor.start_from_trigger or getattr(sensor, "_BaseOperator__from_mapped", False):
        return None
    _check(sensor, conn_id)
    timeout = sensor.timeout
    seconds, limit = timeout, "timeout"
    airflows = timeout + BACKSTOP.total_seconds()
    if sensor.execution_timeout is not None:
        # Airflow gives up then as well, and its own error is as good as ours: it is retried, too.
        at_most = sensor.execution_timeout.total_seconds()
        airflows = min(airflows, at_most)
        seconds, limit = min((seconds, limit), (at_most, "execution_timeout"))
    trigger = sensor.trigger_class
    return StartTriggerArgs(
        trigger_cls=f"{trigger.__module__}.{trigger.__qualname__}",
        trigger_kwargs={
            "conn_id": conn_id,
            "job": _rendered_later(sensor, sensor.job),
            "start": {"seconds": seconds, "limit": limit, "margin": airflows - seconds},
            "poll_interval": config.poll_interval(sensor.poll_interval),
            "unhealthy_after": config.unhealthy_after(sensor.unhealthy_after),
        },
        next_method="execute_complete",
        timeout=timedelta(seconds=timeout) + BACKSTOP,
    )


def _check(sensor: JobSensor[Any], conn_id: str) -> None:
    if not hasattr(BaseTrigger, "render_template_fields"):
        raise _refused("needs Airflow 3.3 or later, whose triggerer renders templates")
    if not sensor.deferrable:
        raise _refused("needs deferrable=True")
    if "job" not in sensor.template_fields:
        raise _refused(f"is not for {type(sensor).__name__}, whose jobs a worker must make out")
    if not isinstance(conn_id, str) or "{{" in conn_id or "{%" in conn_id:
        raise _refused(f"needs the id of a connection, not a template: {conn_id!r:.80}")


def _rendered_later(sensor: JobSensor[Any], job: Any) -> Any:
    """
    Return what goes into the trigger in place of ``job``.

    Another task's output does not survive the serialisation of the DAG there; a template that pulls it as
    JSON does. It says ``map_indexes``, since without them a pull asks for all, which the triggerer of Airflow
    3.3.2 does not know how to answer (``GetXComSequenceSlice``): the rendering would wait for ever.
    """
    from airflow.sdk.definitions.xcom_arg import PlainXComArg  # Airflow 3 only

    if isinstance(job, PlainXComArg):
        if job.operator.get_needs_expansion() or sensor.get_needs_expansion():
            raise _refused("does not go with the output of a mapped task, nor in a mapped task group")
        pull = f"xcom_pull(task_ids={job.operator.task_id!r}, key={job.key!r}, map_indexes=None)"
        return f"[{{{{ task_instance.{pull} | tojson }}}}]"
    if isinstance(job, str) and "xcom_pull" in job:
        raise _refused(f"takes another task's output as it is, such as job=submit.output, not {job!r:.80}")
    if isinstance(job, Mapping):
        return {str(key): _rendered_later(sensor, value) for key, value in job.items()}
    if isinstance(job, (list, tuple)):
        return [_rendered_later(sensor, item) for item in job]
    if job is None or isinstance(job, (str, int, float)):
        return job
    raise _refused(
        f"takes as job what the serialised DAG can hold, or another task's output as it is, not a "
        f"{type(job).__name__}"
    )


def _refused(why: str) -> ValidationRejected:
    return ValidationRejected(f"start_from_trigger {why}. Nothing was sent.")
