"""Programs in processes of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.interpreter import Child, Interpreter


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    running = Interpreter()
    yield running
    running.stop()


@pytest.fixture
def start_program(
    interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Child]]:
    """Run a program in an interpreter that has loaded Airflow."""
    children: list[Child] = []

    def start(program: str) -> Child:
        children.append(interpreter.start(program, tmp_path_factory.mktemp("program")))
        return children[-1]

    yield start
    for child in children:
        if child.status is None:
            child.send(signal.SIGKILL)
            child.wait()
