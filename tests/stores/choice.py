"""Which tests run on which stores, where that is not all of them."""

from __future__ import annotations

import pytest


def on(*names: str) -> pytest.MarkDecorator:
    """Run a test on these stores only."""
    return pytest.mark.parametrize("session_store", names, indirect=True)


on_disk = on("file")
"""For what happens before the bytes reach a writer, which is the same whatever store they go to."""

on_each_file_system = on("file", "s3", "gs", "abfs")
"""
For what does not upload in parts.

``s3-fsspec`` is the file system of ``s3``; they differ in who uploads the parts of a large object.
"""
