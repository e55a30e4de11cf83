from __future__ import annotations

import pytest

from stoq_provider.download.verification import row_problem


@pytest.mark.parametrize(
    ("records", "expected", "with_header", "problem"),
    [
        (3, 2, None, ""),
        (3, 3, None, ""),
        (3, 2, False, ""),
        (3, 3, True, ""),
        (3, 3, False, "without the header line"),
        (3, 2, True, "with the header line"),
        (3, 4, None, "announced 4 rows, but the file holds 2"),
        (3, 1, None, "announced 1 rows"),
        (1, 0, None, ""),
        (0, 0, True, ""),
        (0, 0, False, ""),
        (0, 1, None, "announced 1 rows, but the file holds 0"),
    ],
)
def test_rows_that_fit_and_that_do_not(records, expected, with_header, problem):
    found = row_problem(records, expected, with_header)
    assert problem in found
    assert bool(found) == bool(problem)
