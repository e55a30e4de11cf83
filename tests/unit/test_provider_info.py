"""What Airflow reads about the package, and the form of its connection on each version."""

from __future__ import annotations

import importlib
import importlib.util
import json
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema
import pytest

from stoq_provider.get_provider_info import CONN_FIELDS, INTEGRATIONS, connection, get_provider_info

HOOKS = {
    conn_type: getattr(importlib.import_module(f"stoq_provider.hooks.{conn_type}"), one.hook)
    for conn_type, one in INTEGRATIONS.items()
}
SYSTEMS = pytest.mark.parametrize("system", HOOKS)
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
    for name in info["extra-links"]:
        module, _, name = name.rpartition(".")
        assert getattr(importlib.import_module(module), name)().name
    for entry in info["connection-types"]:
        module, _, name = entry["hook-class-name"].rpartition(".")
        hook = getattr(importlib.import_module(module), name)
        assert hook.conn_type == entry["connection-type"]
        assert hook.hook_name == entry["hook-name"]


@SYSTEMS
def test_airflows_providers_manager_finds_the_hook(system):
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-stoq" in manager.providers
    assert manager.hooks[system].hook_name == HOOKS[system].hook_name
    assert manager.hooks[system].connection_id_attribute_name == f"{system}_conn_id"
    assert HOOKS[system].default_conn_name == f"{system}_default"


def test_airflow_is_told_of_every_link(info):
    from stoq_provider.links import jobs

    links = {cls.__name__ for cls in vars(jobs).values() if isinstance(cls, type) and hasattr(cls, "name")}
    assert {name.rpartition(".")[2] for name in info["extra-links"]} == links - {
        "BaseOperatorLink",
        "PageLink",
        "AdminLink",
    }


@SYSTEMS
@pytest.mark.skipif(
    airflow.__version__ >= "3.2" or not importlib.util.find_spec("flask_appbuilder"),
    reason="this Airflow makes no form from hooks",
)
def test_airflows_providers_manager_finds_the_form(system):
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.field_behaviours[system]["relabeling"]["password"]
    assert f"extra__{system}__timeout" in manager.connection_form_widgets


def test_configuration_has_defaults_that_airflow_can_read(info):
    options = info["config"]["stoq"]["options"]
    assert set(options) >= {"state_path", "poll_interval", "unhealthy_after"}
    for option in options.values():
        assert option["default"] is None or isinstance(option["default"], str)
        assert set(option) >= {"description", "version_added", "type", "example", "default"}


def entry_of(info, system):
    (entry,) = [e for e in info["connection-types"] if e["connection-type"] == system]
    return entry


@SYSTEMS
def test_ui_behaviour_is_the_same_in_both_forms(info, system):
    declared = entry_of(info, system)["ui-field-behaviour"]
    behaviour = HOOKS[system].get_ui_field_behaviour()
    assert behaviour == {key.replace("-", "_"): value for key, value in declared.items()}
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}
    assert not {"password", "host"} & set(behaviour["hidden_fields"])
    fields = {"host", "password", "login", "port", "extra"}
    assert {*behaviour["relabeling"], *behaviour["placeholders"]} <= fields


@SYSTEMS
def test_the_form_says_where_the_host_may_be_left_empty(info, system):
    behaviour = entry_of(info, system)["ui-field-behaviour"]
    default = HOOKS[system].system.default_origin
    assert behaviour["relabeling"]["host"] == "Host"  # as messages, lists and JSON say
    said, empty, _ = behaviour["placeholders"]["host"].partition(" (if left empty)")
    assert bool(empty) == (default is not None)
    assert not empty or said == default


def test_only_a_system_with_a_login_shows_that_field():
    hidden = {name: "login" in hook.get_ui_field_behaviour()["hidden_fields"] for name, hook in HOOKS.items()}
    assert hidden == {"stoq": True, "medusa": False, "surecart": True, "printstudio": True}


@SYSTEMS
def test_form_widgets_of_airflow_2(system):
    pytest.importorskip("flask_appbuilder")
    widgets = HOOKS[system].get_connection_form_widgets()
    assert set(widgets) == set(connection(system)["conn-fields"])
    assert widgets["allow_http"].field_class.__name__ == "BooleanField"
    assert widgets["timeout"].kwargs["default"] == "30"


@SYSTEMS
def test_form_fields_of_airflow_3(info, system):
    fields = entry_of(info, system)["conn-fields"]
    assert fields == connection(system)["conn-fields"]
    assert {"timeout", "verify", "proxy", "allow_http"} <= set(fields) <= set(CONN_FIELDS)
    for field in fields.values():
        assert "null" in field["schema"]["type"]


def test_no_secret_is_a_field_of_the_extra():
    assert not [name for name in CONN_FIELDS if "key" in name or "token" in name or "password" in name]
