"""What belongs to the whole installation: the section ``[stoq]`` of Airflow's configuration, our name."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from pkgutil import resolve_name
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
    return _positive("poll_interval", value)


def unhealthy_after(given: float | None) -> float:
    """
    Return the seconds without a good response after which waiting ends.

    :raises ValidationRejected: where it is not a number above zero.
    """
    value = given if given is not None else conf.get("stoq", "unhealthy_after", fallback="900")
    return _positive("unhealthy_after", value)


def seconds(name: str, value: float | timedelta) -> float:
    """
    Return a duration in seconds.

    :raises ValidationRejected: where it is not above zero.
    """
    return _positive(name, value.total_seconds() if isinstance(value, timedelta) else value)


def _positive(name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not 0 < number < 1e9:
        raise ValidationRejected(
            f"{name} must be a number of seconds above 0, not {value!r}. Nothing was sent."
        )
    return number


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
