"""README, docs/ and their neighbours as tests read them: their code, executed as a reader would paste it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
NEW_SYSTEM = ROOT / "docs" / "new-system.md"
DOCUMENTS = (README, *sorted(ROOT.glob("[!R]*.md")), *sorted((ROOT / "docs").glob("*.md")))


def blocks(document: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


def execute(source: str, module: ModuleType, monkeypatch: pytest.MonkeyPatch, document: Path) -> None:
    """Execute a block in a module that can be imported by its name for as long as the test runs."""
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, str(document), "exec"), vars(module))
