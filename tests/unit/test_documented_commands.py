"""README and docs/ are true: the commands and settings that they show exist, with these options."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from importlib.metadata import metadata

import pytest
from airflow.cli.cli_parser import get_parser

from stoq_provider.get_provider_info import CONFIG, INTEGRATIONS
from stoq_provider.testing import cli
from tests.documents import DOCUMENTS, ROOT, blocks

EXTRAS = set(metadata("airflow-provider-stoq").get_all("Provides-Extra"))
OF_OTHERS = {".", ".ci/run", "astro", "echo", "gcloud", "grep", "ls", "mkdir", "python3", "uv"}
"""Programs that this test knows nothing of."""


def commands() -> list[list[str]]:
    """Return the words of each command that a document shows."""
    scripts = "\n".join(block for document in DOCUMENTS for block in blocks(document, "sh"))
    lines = re.split(r"\n|&&| \| |&$", scripts.replace("\\\n", " "), flags=re.MULTILINE)
    found = [shlex.split(line, comments=True) for line in lines]
    # Variables for one command alone stand before it.
    return [words[next(n for n, word in enumerate(words) if "=" not in word) :] for words in found if words]


def check(program: str, arguments: list[str]) -> None:
    if program == "airflow":
        get_parser().parse_args(arguments)
    elif program == "stoq-sandbox":
        cli.parser().parse_args(arguments)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in arguments)
    elif program == "export":
        check_connections(arguments)
    elif program == "pip":
        check_pip(" ".join(arguments))
    else:
        assert program in OF_OTHERS


def check_connections(variables: list[str]) -> None:
    for name, _, value in (variable.partition("=") for variable in variables):
        if name.startswith("AIRFLOW_CONN_"):
            assert json.loads(value)["conn_type"] in INTEGRATIONS


def check_pip(arguments: str) -> None:
    assert set(re.findall(r"\[(\w+)\]", arguments)) <= EXTRAS
    assert all((ROOT / path).is_file() for path in re.findall(r"--constraint (\S+)", arguments))


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words[:4]))
def test_every_command_is_understood(words):
    check(words[0], words[1:])


def test_every_setting_exists():
    shown = configparser.ConfigParser(interpolation=None)
    for document in DOCUMENTS:
        for block in blocks(document, "ini"):
            shown.read_string(block)
    assert shown.sections() == ["stoq"]
    assert set(shown["stoq"]) <= set(CONFIG["stoq"]["options"])
