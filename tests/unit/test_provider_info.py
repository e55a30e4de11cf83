"""What Airflow reads about the package, and the form of its connection on each version."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema
import pytest

from stoq_provider.get_provider_info import STOQ_CONN_FIELDS, get_provider_info
from stoq_provider.hooks.stoq import StoqHook

SCHEMA = Path(airflow.__path__[0]) / "provider_info.schema.json"


@pytest.fixture(scope="module")
def info() -> dict:
    return get_provider_info()


def test_provider_info_is_valid_against_airflows_own_schema(info):
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(info, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**info, "name": 5}, schema)


def test_entry_point_leads_to_it(info):
    (found,) = [
        e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("stoq_provider")
    ]
    assert found.load()() == info


def test_every_module_and_class_that_it_names_exists(info):
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                importlib.import_module(module)
    for entry in info["connection-types"]:
        module, _, name = entry["hook-class-name"].rpartition(".")
        hook = getattr(importlib.import_module(module), name)
        assert hook.conn_type == entry["connection-type"]
        assert hook.hook_name == entry["hook-name"]


def test_airflows_providers_manager_finds_the_hook():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-stoq" in manager.providers
    assert manager.hooks["stoq"].hook_name == "STOQ"
    assert manager.hooks["stoq"].connection_id_attribute_name == "stoq_conn_id"


def test_configuration_has_defaults_that_airflow_can_read(info):
    options = info["config"]["stoq"]["options"]
    assert set(options) >= {"state_path", "poll_interval", "unhealthy_after"}
    for option in options.values():
        assert option["default"] is None or isinstance(option["default"], str)
        assert set(option) >= {"description", "version_added", "type", "example", "default"}


def test_ui_behaviour_is_the_same_in_both_forms(info):
    (entry,) = [e for e in info["connection-types"] if e["connection-type"] == "stoq"]
    behaviour = StoqHook.get_ui_field_behaviour()
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}
    assert behaviour["hidden_fields"] == entry["ui-field-behaviour"]["hidden-fields"]
    assert behaviour["relabeling"] == {"host": "Origin", "password": "API key"}
    assert "password" not in behaviour["hidden_fields"]


def test_form_widgets_of_airflow_2():
    pytest.importorskip("flask_appbuilder")
    widgets = StoqHook.get_connection_form_widgets()
    assert set(widgets) == set(STOQ_CONN_FIELDS)
    assert widgets["allow_http"].field_class.__name__ == "BooleanField"
    assert widgets["timeout"].kwargs["default"] == "30"


def test_form_fields_of_airflow_3(info):
    (entry,) = [e for e in info["connection-types"] if e["connection-type"] == "stoq"]
    assert entry["conn-fields"] == STOQ_CONN_FIELDS
    for field in entry["conn-fields"].values():
        assert "null" in field["schema"]["type"]


def test_no_secret_is_a_field_of_the_extra():
    assert not [name for name in STOQ_CONN_FIELDS if "key" in name or "token" in name or "password" in name]
