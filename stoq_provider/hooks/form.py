"""The connection form of Airflow before 3.2, made from what stands in the provider info."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def widgets(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return WTForms fields; needs ``flask_appbuilder``, which Airflow 2 has."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, StringField

    made = {}
    for name, field in fields.items():
        label, about = lazy_gettext(field["label"]), field.get("description", "")
        if "boolean" in field["schema"]["type"]:
            made[name] = BooleanField(label, description=about, default=field["schema"].get("default"))
        else:
            default = field["schema"].get("default")
            made[name] = StringField(
                label,
                widget=BS3TextFieldWidget(),
                description=about,
                default=None if default is None else str(default),
            )
    return made


def behaviour(ui: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form's behaviour in the spelling that hooks use; the provider info has dashes."""
    return {key.replace("-", "_"): value for key, value in ui.items()}
