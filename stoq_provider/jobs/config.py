"""The section ``[stoq]`` of Airflow's configuration, our name, and which values the options of tasks take."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from numbers import Integral
from operator import index
from pkgutil import resolve_name
from typing import Any
from urllib.parse import unquote, urlsplit

import airflow
from airflow.providers.common.compat.sdk import conf

from stoq_provider import __version__
from stoq_provider.exceptions import ValidationRejected


def state_path() -> str:
    """Where records are kept on Airflow before 3.3; empty where it is not set."""
    return str(conf.get("stoq", "state_path", fallback="") or "").strip()


def poll_interval(given: float | None) -> float | None:
    """
    Return the seconds between polls that the task or the installation wants; ``None``: as documented.

    :raises ValidationRejected: where it is not a number above zero.
    """
    value = given if given is not None else conf.get("stoq", "poll_interval", fallback="")
    if value in (None, ""):
        return None
    return seconds("poll_interval", value)


def unhealthy_after(given: float | None) -> float:
    """
    Return the seconds without a good response after which waiting ends.

    :raises ValidationRejected: where it is not a number above zero.
    """
    value = given if given is not None else conf.get("stoq", "unhealthy_after", fallback="900")
    return seconds("unhealthy_after", value)


def seconds(name: str, value: object) -> float:
    """
    Return a duration, given as a number, text of one, or a ``timedelta``, in seconds.

    :raises ValidationRejected: where it is not above zero.
    """
    try:
        number = value.total_seconds() if isinstance(value, timedelta) else float(str(value))
    except ValueError:
        number = float("nan")
    if not 0 < number < 1e9:
        raise ValidationRejected(
            f"{name} must be a number of seconds above 0, not {value!r:.80}. Nothing was sent."
        )
    return number


def _seconds_if_given(name: str, value: object) -> None:
    if value is not None:
        seconds(name, value)


def _one_of(*known: str | bool | None) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        # By type too: 1 is equal to True, and what an array is equal to can't be asked.
        if not any(isinstance(value, type(one)) and value == one for one in known):
            raise ValidationRejected(
                f"{name} is one of {', '.join(map(repr, known))}, not {value!r:.80}. Nothing was sent."
            )

    return check


def _count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or index(value) < 1:
        raise ValidationRejected(
            f"{name} must be a whole number above 0, not {value!r:.80}. Nothing was sent."
        )


_SWITCH = _one_of(True, False)

OPTIONS: Mapping[str, Callable[[str, Any], object]] = {
    "deferrable": _SWITCH,
    "wait_for_completion": _one_of(None, True, False),
    "dry_run": _SWITCH,
    "fail_on_failed": _SWITCH,
    "repeat_safe": _SWITCH,
    "durable": _SWITCH,
    "start_from_trigger": _SWITCH,
    "on_clear": _one_of("resubmit", "reuse"),
    "on_busy": _one_of("fail", "wait"),
    "on_empty": _one_of("error", "skip"),
    "verify": _one_of(None, "warn", "fail"),
    "timeout": seconds,
    "poll_interval": _seconds_if_given,
    "unhealthy_after": _seconds_if_given,
    "max_items": _count,
    "chunk_size": _count,
}
"""
Parameters of tasks that are no template fields, and what refuses a wrong value.

Those of downloads are checked by :class:`~stoq_provider.download.options.DownloadOptions`.
"""


def check_options(task: Any, *names: str) -> None:
    """
    Check options of a task: those named, as the DAG is parsed; without names all, as the task runs.

    What a subclass makes a template field is left to the run.

    :raises ValidationRejected: naming the option.
    """
    for name in names or (name for name in OPTIONS if name in vars(task)):
        if not names or name not in task.template_fields:
            OPTIONS[name](name, getattr(task, name))


def user_agent(dag_id: str | None = None) -> str:
    """
    Name the package, Airflow and the DAG, for readers of the vendor's logs.

    :param dag_id: left out on a worker, where Airflow names it in the environment.
    """
    dag_id = dag_id or os.environ.get("AIRFLOW_CTX_DAG_ID", "")
    name = f"airflow-provider-stoq/{__version__} apache-airflow/{airflow.__version__}"
    ascii_dag = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in dag_id)
    return f"{name} (dag {ascii_dag})" if ascii_dag else name


_MASKERS = (
    "airflow.sdk.log",
    "airflow.sdk.execution_time.secrets_masker",
    "airflow.utils.log.secrets_masker",
)
"""Where versions of Airflow have ``mask_secret``; old compatibility layers do not have it."""


def mask_proxy(proxy: str | None) -> None:
    """Have Airflow strike a proxy's password out of logs: it masks extra fields by their names alone."""
    password = urlsplit(proxy or "").password
    if not password:
        return
    for module in _MASKERS:
        with suppress(ImportError, AttributeError):
            mask = resolve_name(f"{module}:mask_secret")
            for form in {password, unquote(password)}:
                mask(form)
            return
