"""What the recorded answers of a real server must not hold."""

from __future__ import annotations

import re

from tests.unit.systems.medusa.test_system import RECORDINGS


def test_recordings_hold_no_secret():
    text = "".join(path.read_text() for path in RECORDINGS.iterdir())
    assert not re.search(r"eyJ|connect\.sid|/srv/|password\":\s*\"(?!<password>|nope)", text)
