"""README and docs/ are true: their code runs, their links lead somewhere, what they name exists."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG

import stoq_provider
from stoq_provider.core.manifest import manifest
from stoq_provider.core.models import JobHandle
from stoq_provider.core.records import RepeatSafety
from stoq_provider.exceptions import ValidationRejected
from stoq_provider.get_provider_info import CONFIG, CONN_FIELDS, INTEGRATIONS
from stoq_provider.systems.stoq.bulk import ORDER_ACTIONS, VARIANT_ACTIONS
from stoq_provider.systems.stoq.reports import COMMON_FILTERS, FILTERS, WINDOWS
from tests import parameters
from tests.documents import DOCUMENTS, NEW_SYSTEM, README, ROOT, blocks, execute

PACKAGE = Path(stoq_provider.__file__).parent
CONNECTIONS = ROOT / "docs" / "connections.md"
MOST_LINES_OF_README = 130
IN_ORDER = (NEW_SYSTEM,)
"""Documents whose blocks build on each other; all other blocks stand by themselves."""
OF_OTHERS = {"HttpToS3Operator", "S3Hook"}
"""Classes that are named and are not ours."""

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def programs() -> list[tuple[Path, str]]:
    """Return what can be executed by itself, with where it stands."""
    found = []
    for document in DOCUMENTS:
        python = blocks(document, "python")
        found += [(document, "\n".join(python))] if document in IN_ORDER else [(document, p) for p in python]
    return found


@pytest.fixture
def dags(monkeypatch) -> list[DAG]:
    """The DAGs whose ``with`` block is entered; the DAG bag would find the same, and take seconds to load."""
    entered: list[DAG] = []
    enter = DAG.__enter__

    def entering(dag):
        entered.append(dag)
        return enter(dag)

    monkeypatch.setattr(DAG, "__enter__", entering)
    return entered


@pytest.mark.parametrize(
    ("document", "source"), [pytest.param(*p, id=f"{p[0].stem}-{n}") for n, p in enumerate(programs())]
)
def test_every_block_of_python_runs(document, source, dags, monkeypatch):
    try:
        execute(source, ModuleType("pasted"), monkeypatch, document)
    except ValidationRejected as error:
        if "needs Airflow 3.3" not in str(error) or airflow.__version__ >= "3.3":
            raise
        pytest.skip(str(error))
    assert len(dags) == len(re.findall(r"^with DAG\(", source, re.MULTILINE))
    for dag in dags:
        dag.validate()
        assert dag.tasks


def test_there_are_blocks_to_run():
    assert len(programs()) >= 8
    assert all("DAG(" in source for document, source in programs() if document == README)


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= MOST_LINES_OF_README


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_every_relative_link_leads_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_test_that_the_page_on_security_names_exists():
    text = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (?!threat|---).*$", text, re.MULTILINE)
    named = [re.findall(r"`([\w/]+\.py): (test_\w+)`", row) for row in rows]
    assert len(rows) > 15
    assert all(named), "a threat without a test"
    for path, test in (one for row in named for one in row):
        source = (ROOT / "tests" / path).read_text()
        assert re.search(rf"\bdef {test}\(", source), f"{path}: {test}"


def test_the_figures_of_the_picture_are_those_of_the_text():
    picture = (ROOT / "docs" / "images" / "points.svg").read_text()
    (ours, rare), (fixed, rarely) = re.findall(r"mean (\d+) s, 99 % within (\d+) s", picture)
    text = " ".join((ROOT / "docs" / "rate-limit.md").read_text().split())
    assert f"after {ours} seconds on average instead of {fixed}" in text
    assert f"within {rare} instead of {rarely}" in text


def test_every_module_is_in_the_architecture():
    modules = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.stem != "__init__"
    }
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert {name for name in modules if not name.startswith("testing/") and f"`{name}`" not in text} == set()


def test_the_parameters_are_those_of_the_docstrings():
    assert parameters.PAGE.read_text() == parameters.page(), "make docs writes the page anew"


def test_every_document_is_linked_from_the_readme():
    links = re.findall(r"\]\(([\w/-]+\.md)", README.read_text())
    assert {ROOT / link for link in links} == set(DOCUMENTS) - {README}


def code_spans(document: Path) -> list[str]:
    """Return what stands in backticks in the text."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def public_classes() -> set[str]:
    names: set[str] = set()
    for part in ("operators", "sensors", "hooks", "triggers"):
        for found in pkgutil.iter_modules([str(PACKAGE / part)]):
            names |= set(vars(importlib.import_module(f"stoq_provider.{part}.{found.name}")))
    return names


@pytest.fixture(scope="module")
def known() -> set[str]:
    return public_classes() | OF_OTHERS


@every_document
def test_every_operator_sensor_and_hook_that_is_named_exists(document, known):
    named = {
        match
        for span in code_spans(document)
        for match in re.findall(r"\b[A-Z]\w*(?:Operator|Sensor|Hook|Trigger)\b", span)
    }
    assert named <= known


def test_every_public_operator_sensor_and_hook_is_in_the_readme():
    systems = "|".join(one.hook.removesuffix("Hook") for one in INTEGRATIONS.values())
    ours = re.compile(rf"({systems})\w*(Operator|Sensor|Hook)")
    bases = {"StoqBulkOperator", "PrintStudioOperator", "PrintStudioPrintJobsOperator"}
    public = {name for name in public_classes() if ours.fullmatch(name)} - bases
    assert {name for name in public if f"`{name}" not in README.read_text()} == set()


@every_document
def test_every_make_target_that_is_named_exists(document):
    targets = set(re.findall(r"^([a-z-]+)(?::|%:)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = "\n".join([*code_spans(document), *blocks(document, "sh")])
    assert set(re.findall(r"\bmake ([a-z][a-z-]+)", shown)) <= targets


def rows(document: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its first line."""
    section = (ROOT / "docs" / document).read_text().split(f"\n## {heading}\n")[1]
    table = re.search(r"^\|.*?(?=\n\n)", section, re.MULTILINE | re.DOTALL)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def test_the_actions_are_those_of_the_code():
    shown = {
        row[0].strip("`"): (int(row[1]), "never" in row[3]) for row in rows("operators.md", "Bulk actions")
    }
    known = {**ORDER_ACTIONS, **VARIANT_ACTIONS}.values()
    assert shown == {one.name: (one.family.cap, one.repeat is RepeatSafety.NEVER) for one in known}


def test_the_reports_and_windows_are_those_of_the_code():
    assert {row[0].strip("`") for row in rows("reports.md", "Which reports")} == set(FILTERS)
    assert {row[0].strip('`"') for row in rows("reports.md", "Windows")} == set(WINDOWS)
    shown = {name for row in rows("reports.md", "Common filters") for name in re.findall(r"`(\w+)`", row[0])}
    assert shown == {*COMMON_FILTERS, "granularity"}


def test_the_settings_and_extras_are_those_of_the_package():
    assert {row[0].strip("`") for row in rows("install.md", "Settings")} == set(CONFIG["stoq"]["options"])
    shown = {
        name for row in rows("install.md", "Into your own Airflow") for name in re.findall(r"`(\w+)`", row[0])
    }
    extras = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    assert {"s3", "gcs", "azure"} <= shown <= set(re.findall(r"^(\w+) = ", extras, re.MULTILINE))


@pytest.mark.parametrize("number", range(len(blocks(CONNECTIONS, "json"))))
def test_every_shown_connection_can_be_read(number, monkeypatch):
    shown = json.loads(blocks(CONNECTIONS, "json")[number])
    name = shown["conn_type"]
    hook = getattr(importlib.import_module(f"stoq_provider.hooks.{name}"), INTEGRATIONS[name].hook)
    monkeypatch.setenv("AIRFLOW_CONN_SHOWN", json.dumps(shown))
    settings = hook("shown").settings
    assert settings.key == shown["password"]
    assert settings.login == shown.get("login")
    assert shown.get("host", hook.system.default_origin) == settings.origin
    assert {name: getattr(settings, name) for name in shown.get("extra", {})} == shown.get("extra", {})


def test_a_connection_of_each_system_is_shown():
    shown = {json.loads(block)["conn_type"] for block in blocks(CONNECTIONS, "json")}
    assert shown == set(INTEGRATIONS)
    fields = re.findall(r"^\| extra `(\w+)`", CONNECTIONS.read_text(), re.MULTILINE)
    assert set(fields) == set(CONN_FIELDS)


def test_the_shown_handle_and_manifest_have_the_keys_of_real_ones():
    handle, shown = map(json.loads, blocks(ROOT / "docs" / "operators.md", "json"))
    assert list(handle) == list(JobHandle("stoq", "export", "exp_1", "/exports/exp_1").to_dict())
    real = manifest(system="stoq", kind="export", ends=(), request={}, started_at=0, finished_at=0)
    assert list(shown) == list(real)
    assert list(shown["totals"]) == list(real["totals"])
