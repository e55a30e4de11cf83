"""
What Airflow reads about this package (entry point ``apache_airflow_provider``).

Airflow loads this module while it imports itself, so it imports nothing. The fields of the connection
form stand here once: Airflow 3.2 and later take them from the provider info, older versions ask the
hook's two form methods, which are made from the same tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


def _field(label: str, description: str, type_: str, default: Any = None) -> dict[str, Any]:
    schema = {"type": [type_, "null"]} | ({} if default is None else {"default": default})
    return {"label": label, "description": description, "schema": schema}


CONN_FIELDS: dict[str, dict[str, Any]] = {
    "timeout": _field("Timeout", "Seconds to wait for a connection and for each response.", "number", 30),
    "verify": _field("Verify TLS", "true, false, or the path of a CA bundle.", "string", "true"),
    "proxy": _field(
        "Proxy", "URL of an HTTP or SOCKS 5 proxy. Empty: that of the environment (HTTPS_PROXY).", "string"
    ),
    "allow_http": _field(
        "Allow plain HTTP",
        "Send the key over plain http to a host that is not this machine. For tests only.",
        "boolean",
        False,
    ),
    "points_share": _field(
        "Share of the rate limit",
        "How much of the shop's points Airflow may spend, from 0.05 to 1; the rest is left to other apps.",
        "number",
        0.8,
    ),
    "allow_private": _field(
        "Allow private addresses",
        "Download files from a private address, such as a file store in one's own network.",
        "boolean",
        False,
    ),
    "admin_url": _field(
        "Admin page", "Page of the shop that tasks link to, where it is not the usual one.", "string"
    ),
}
"""Extra fields of connections."""


class Integration(NamedTuple):
    """
    What Airflow is to know of a system.

    :param docs: where the vendor's documentation is.
    :param hook: the class in the module of hooks that has the name of the connection type.
    :param operators: modules.
    :param form: the fields of the connection form, each with its name there and an example.
    :param hidden: fields of Airflow that the form does not show.
    :param without: extra fields that mean nothing there.
    """

    name: str
    docs: str
    hook: str
    operators: tuple[str, ...]
    form: dict[str, tuple[str, str]]
    hidden: tuple[str, ...]
    without: tuple[str, ...] = ("allow_private",)


INTEGRATIONS: dict[str, Integration] = {
    "stoq": Integration(
        "STOQ",
        "https://docs.stoqapp.com/",
        "StoqHook",
        operators=("actions", "bulk", "reports"),
        form={
            "host": ("Host", "https://app.stoqapp.com (if left empty)"),
            "password": ("API key", "STOQ app: Settings > Integrations > API Key"),
        },
        hidden=("schema", "login", "port"),
    ),
    "medusa": Integration(
        "Medusa",
        "https://docs.medusajs.com/v1/api/admin",
        "MedusaHook",
        operators=("medusa",),
        form={
            "host": ("Host", "https://medusa.example.com"),
            "login": ("E-mail", "leave empty to use an API token"),
            "password": ("API token or password", "with an e-mail its password, else the API token"),
            "port": ("Port", "if the host names none"),
        },
        hidden=("schema",),
        # It has no rate limit (read in its source), so there are no points to share.
        without=("points_share",),
    ),
    "surecart": Integration(
        "SureCart",
        "https://developer.surecart.com/",
        "SureCartHook",
        operators=("surecart",),
        form={
            "host": ("Host", "https://api.surecart.com (if left empty)"),
            "password": ("Secret key", "the secret key of the store (live or test)"),
        },
        hidden=("schema", "login", "port"),
    ),
    "printstudio": Integration(
        "PrintStudio",
        "https://printstudio-docs.pages.dev/",
        "PrintStudioHook",
        operators=("printstudio",),
        form={
            "host": ("Host", "https://print.example.com"),
            "password": ("API key", "psk_live_..."),
            "port": ("Port", "if the host names none"),
        },
        hidden=("schema", "login"),
    ),
}
"""By connection type."""


LINKS = ("DestinationLink", "StoqAdminLink", "MedusaAdminLink", "SureCartLink", "PrintStudioLink")
"""Classes of links; Airflow 2 shows only those that are declared."""


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
                "Seconds without any good response about a job after which a task stops waiting and fails, "
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
            {"integration-name": one.name, "external-doc-url": one.docs, "tags": ["service"]}
            for one in INTEGRATIONS.values()
        ],
        "hooks": [_modules(one, f"hooks.{conn_type}") for conn_type, one in INTEGRATIONS.items()],
        "operators": [
            _modules(one, *(f"operators.{name}" for name in one.operators)) for one in INTEGRATIONS.values()
        ],
        "sensors": [_modules(one, "sensors.jobs") for one in INTEGRATIONS.values()],
        "triggers": [_modules(one, "triggers.jobs") for one in INTEGRATIONS.values()],
        "extra-links": [f"stoq_provider.links.jobs.{name}" for name in LINKS],
        "connection-types": [connection(conn_type) for conn_type in INTEGRATIONS],
        "config": CONFIG,
    }


def _modules(of: Integration, *names: str) -> dict[str, Any]:
    return {"integration-name": of.name, "python-modules": [f"stoq_provider.{name}" for name in names]}


def connection(conn_type: str) -> dict[str, Any]:
    """Return what Airflow is to know of a type of connection."""
    one = INTEGRATIONS[conn_type]
    return {
        "connection-type": conn_type,
        "hook-class-name": f"stoq_provider.hooks.{conn_type}.{one.hook}",
        "hook-name": one.name,
        "ui-field-behaviour": {
            "hidden-fields": list(one.hidden),
            "relabeling": {field: label for field, (label, _) in one.form.items()},
            "placeholders": {field: example for field, (_, example) in one.form.items()} | {"extra": "{}"},
        },
        "conn-fields": {field: about for field, about in CONN_FIELDS.items() if field not in one.without},
    }


def form_widgets(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the connection form of Airflow before 3.2 as WTForms fields."""
    # Packages that only Airflow 2 has.
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import BooleanField, StringField

    made = {}
    for name, field in fields.items():
        label, about = field["label"], field["description"]
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
