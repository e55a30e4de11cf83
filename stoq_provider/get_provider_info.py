"""
What Airflow reads about this package (entry point ``apache_airflow_provider``).

Airflow loads this module while it imports itself, so it imports nothing. The fields of the connection
form stand here once: Airflow 3.2 and later take them from the provider info, older versions ask the
hook's two form methods, which are made from the same tables.
"""

from __future__ import annotations

from typing import Any

INTEGRATION = "STOQ"
OPERATORS = [f"stoq_provider.operators.{name}" for name in ("actions", "bulk", "reports")]

STOQ_UI: dict[str, Any] = {
    "hidden-fields": ["schema", "login", "port"],
    "relabeling": {"host": "Origin", "password": "API key"},
    "placeholders": {
        "host": "https://app.stoqapp.com",
        "password": "STOQ app: Settings > Integrations > API Key",
        "extra": "{}",
    },
}

STOQ_CONN_FIELDS: dict[str, dict[str, Any]] = {
    "timeout": {
        "label": "Timeout",
        "description": "Seconds to wait for a connection and for each answer.",
        "schema": {"type": ["number", "null"], "default": 30},
    },
    "verify": {
        "label": "Verify TLS",
        "description": "true, false, or the path of a CA bundle.",
        "schema": {"type": ["string", "null"], "default": "true"},
    },
    "proxy": {
        "label": "Proxy",
        "description": "URL of an HTTP proxy; empty: as the environment says.",
        "schema": {"type": ["string", "null"]},
    },
    "allow_http": {
        "label": "Allow plain HTTP",
        "description": "Send the key over plain http to a host that is not this machine. For tests only.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "points_share": {
        "label": "Share of the points",
        "description": "How much of the shop's rate limit is ours, from 0.05 to 1.",
        "schema": {"type": ["number", "null"], "default": 0.8},
    },
}


def _option(description: str, type_: str, default: str, example: str | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": type_,
        "example": example,
        "default": default,
    }


CONFIG: dict[str, Any] = {
    "stoq": {
        "description": "Jobs of STOQ and of the other systems of airflow-provider-stoq.",
        "options": {
            "state_path": _option(
                "Folder on object storage where the records of submissions are kept on Airflow before 3.3, "
                "as an ObjectStoragePath. With a record, a new try finds the job of the try before it and "
                "submits nothing twice. From Airflow 3.3 on the task state store is used instead.",
                "string",
                "",
                "s3://aws_default@my-bucket/airflow/stoq-records",
            ),
            "poll_interval": _option(
                "Seconds between two polls of a job, for all tasks that do not set poll_interval. "
                "Empty: the cadence that the remote system documents.",
                "string",
                "",
                "30",
            ),
            "unhealthy_after": _option(
                "Seconds without any good answer about a job after which a task stops waiting and fails, "
                "without claiming that the job failed.",
                "float",
                "900",
            ),
        },
    }
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider info, valid against Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-stoq",
        "name": "STOQ",
        "description": "Bulk jobs of commerce APIs, such as those of `STOQ <https://docs.stoqapp.com/>`__.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://docs.stoqapp.com/",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": INTEGRATION, "python-modules": ["stoq_provider.hooks.stoq"]}],
        "operators": [{"integration-name": INTEGRATION, "python-modules": OPERATORS}],
        "sensors": [{"integration-name": INTEGRATION, "python-modules": ["stoq_provider.sensors.jobs"]}],
        "triggers": [{"integration-name": INTEGRATION, "python-modules": ["stoq_provider.triggers.jobs"]}],
        "connection-types": [
            {
                "connection-type": "stoq",
                "hook-class-name": "stoq_provider.hooks.stoq.StoqHook",
                "hook-name": "STOQ",
                "ui-field-behaviour": STOQ_UI,
                "conn-fields": STOQ_CONN_FIELDS,
            }
        ],
        "config": CONFIG,
    }
