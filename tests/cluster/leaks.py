"""Looking for secrets in what a cluster leaves behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

LINK = "X-Amz-Signature"


class Leaks:
    """
    Fails where a secret is found.

    :param secrets: what must not be found; a download link has its own mark beside them.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self.secrets = set(secrets)

    def look(self, where: str, text: str, *expected: str) -> None:
        """Look into a text, which must hold what is ``expected``: an empty one proves nothing."""
        for word in expected:
            assert word in text, f"{where} holds no {word!r}; this is not the text to look into: {text[:500]}"
        for secret in (*self.secrets, LINK):
            at = text.find(secret)
            assert at < 0, f"{where}: ...{text[max(0, at - 400) : at]}<a secret>"

    def look_into(self, files: Iterable[Path], *expected: str) -> None:
        """Look into files, which together must hold what is ``expected``; bytes that are no text are kept."""
        texts = {str(file): file.read_bytes().decode("latin-1") for file in files}
        for where, text in texts.items():
            self.look(where, text)
        for word in expected:
            assert any(word in text for text in texts.values()), f"no {word!r} in {list(texts)}"
