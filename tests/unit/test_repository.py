"""What GitHub, PyPI and pip read of this repository agrees with the rest of it."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.documents import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
FILES = {path.name: path for path in (*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml")}
VERSIONS = re.findall(r"^(?:OLDEST|BETWEEN|NEWEST) = (.+)$", MAKEFILE, re.MULTILINE)


def steps(workflow: str) -> list[dict]:
    return [
        step for job in yaml.safe_load(FILES[workflow].read_text())["jobs"].values() for step in job["steps"]
    ]


@pytest.mark.parametrize("name", FILES)
def test_it_is_yaml(name):
    assert isinstance(yaml.safe_load(FILES[name].read_text()), dict)


def test_the_workflow_runs_what_a_change_must_pass():
    assert ".ci/run" in [step.get("run") for step in steps("ci.yml")]
    assert "make dist" in [step.get("run") for step in steps("release.yml")]


def test_each_action_is_pinned_to_a_version():
    used = [step["uses"] for name in ("ci.yml", "release.yml") for step in steps(name) if "uses" in step]
    assert used
    assert [name for name in used if not re.search(r"@(v\d+|release/v\d+)$", name)] == []


def test_each_version_of_airflow_has_its_constraints():
    named = " ".join(VERSIONS).split()
    assert {f"{name}.txt" for name in named} == {path.name for path in (ROOT / "constraints").iterdir()}
    for name in named:
        pins = (ROOT / "constraints" / f"{name}.txt").read_text()
        assert re.search(rf"^apache-airflow=={re.escape(name)}\.\d+$", pins, re.MULTILINE)
        assert "://" not in pins


def test_each_target_that_ci_runs_exists():
    script = (ROOT / ".ci" / "run").read_text()
    run = re.search(r"^targets=\(([a-z -]+)\)$", script, re.MULTILINE)[1].split()
    assert {"lint", "types", "unit", "test-oldest", "test-between"} <= set(run)
    assert set(run) <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
