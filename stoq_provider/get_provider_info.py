"""
What Airflow reads about this package (entry point ``apache_airflow_provider``).

Airflow loads this module while it imports itself, so it imports nothing. The fields of the connection
form stand here once: Airflow 3.2 and later take them from the provider info, older versions ask the
hook's two form methods, which are made from the same tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONN_FIELDS: dict[str, dict[str, Any]] = {
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
    "allow_private": {
        "label": "Files at private addresses",
        "description": "Download files from a private address, such as a file store in one's own network.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
}
"""Extra fields of connections."""

NOT_IN_FORM: dict[str, tuple[str, ...]] = {
    "stoq": ("allow_private",),
    # It has no rate limit (read in its source), so there are no points to share.
    "medusa": ("points_share",),
    "surecart": ("allow_private",),
    "printstudio": ("allow_private",),
}

FORMS: dict[str, dict[str, tuple[str, str]]] = {
    "stoq": {
        "host": ("Origin", "https://app.stoqapp.com"),
        "password": ("API key", "STOQ app: Settings > Integrations > API Key"),
    },
    "medusa": {
        "host": ("Origin", "https://medusa.example.com"),
        "login": ("E-mail", "empty: the password is an API token"),
        "password": ("API token or password", "the user's api_token; with an e-mail: the password"),
    },
    "surecart": {
        "host": ("Origin", "https://api.surecart.com"),
        "password": ("Secret key", "the secret key of the store (live or test)"),
    },
    "printstudio": {
        "host": ("Origin", "https://print.example.com"),
        "password": ("API key", "psk_live_..."),
    },
}
"""By connection type: the fields of the form, each with its name there and an example."""

HIDDEN: dict[str, list[str]] = {
    "stoq": ["schema", "login", "port"],
    "medusa": ["schema"],
    "surecart": ["schema", "login", "port"],
    "printstudio": ["schema", "login"],
}

INTEGRATIONS: dict[str, tuple[str, str, str]] = {
    "stoq": ("STOQ", "https://docs.stoqapp.com/", "StoqHook"),
    "medusa": ("Medusa", "https://docs.medusajs.com/v1/api/admin", "MedusaHook"),
    "surecart": ("SureCart", "https://developer.surecart.com/", "SureCartHook"),
    "printstudio": ("PrintStudio", "https://printstudio-docs.pages.dev/", "PrintStudioHook"),
}
"""By connection type: the name, where the vendor's documentation is, and the hook."""

OPERATORS: dict[str, tuple[str, ...]] = {
    "stoq": ("actions", "bulk", "reports"),
    "medusa": ("medusa",),
    "surecart": ("surecart",),
    "printstudio": ("printstudio",),
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
        "description": (
            "Bulk jobs of commerce APIs: `STOQ <https://docs.stoqapp.com/>`__, Medusa v1, SureCart and"
            " PrintStudio."
        ),
        "integrations": [
            {"integration-name": name, "external-doc-url": url, "tags": ["service"]}
            for name, url, _ in INTEGRATIONS.values()
        ],
        "hooks": _modules(lambda system: [f"hooks.{system}"]),
        "operators": _modules(lambda system: [f"operators.{name}" for name in OPERATORS[system]]),
        "sensors": _modules(lambda system: ["sensors.jobs"]),
        "triggers": _modules(lambda system: ["triggers.jobs"]),
        "connection-types": [connection(conn_type) for conn_type in INTEGRATIONS],
        "config": CONFIG,
    }


def _modules(of: Callable[[str], list[str]]) -> list[dict[str, Any]]:
    return [
        {"integration-name": name, "python-modules": [f"stoq_provider.{module}" for module in of(system)]}
        for system, (name, *_) in INTEGRATIONS.items()
    ]


def connection(conn_type: str) -> dict[str, Any]:
    """Return what Airflow is to know of a type of connection."""
    name, _, hook = INTEGRATIONS[conn_type]
    form = FORMS[conn_type]
    left_out = NOT_IN_FORM[conn_type]
    return {
        "connection-type": conn_type,
        "hook-class-name": f"stoq_provider.hooks.{conn_type}.{hook}",
        "hook-name": name,
        "ui-field-behaviour": {
            "hidden-fields": HIDDEN[conn_type],
            "relabeling": {field: label for field, (label, _) in form.items()},
            "placeholders": {field: example for field, (_, example) in form.items()} | {"extra": "{}"},
        },
        "conn-fields": {field: about for field, about in CONN_FIELDS.items() if field not in left_out},
    }


def form_widgets(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the connection form of Airflow before 3.2 as WTForms fields."""
    # Packages that only Airflow 2 has.
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, StringField

    made = {}
    for name, field in fields.items():
        label, about = lazy_gettext(field["label"]), field.get("description", "")
        default = field["schema"].get("default")
        if "boolean" in field["schema"]["type"]:
            made[name] = BooleanField(label, description=about, default=default)
        else:
            made[name] = StringField(
                label,
                widget=BS3TextFieldWidget(),
                description=about,
                default=None if default is None else str(default),
            )
    return made
