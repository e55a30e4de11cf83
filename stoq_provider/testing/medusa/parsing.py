"""Reading an import's CSV file as the server's parser does, and refusing what its schema does not know."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from stoq_provider.testing.medusa.basics import StepFailed
from stoq_provider.testing.medusa.columns import PRODUCT_COLUMNS, VARIANT_COLUMNS

Row = dict[str, str]
_DYNAMIC = re.compile(
    r"Option \d+ (Name|Value)|Price (.* \[[A-Z]{3}\]|[A-Z]{3})|Image \d+ Url"
    r"|Sales Channel \d+ (Id|Name|Description)"
)
_PRICE_LIST = re.compile(r"Product Variant ID|SKU|Price (.* \[[A-Z]{3}\]|[A-Z]{3})")
_FIXED = frozenset({"Product Id", "Variant Id", *PRODUCT_COLUMNS, *VARIANT_COLUMNS})


def is_product_column(name: str) -> bool:
    """S: whether a product import knows a column."""
    return name in _FIXED or _DYNAMIC.fullmatch(name) is not None


def is_price_column(name: str) -> bool:
    """S: whether a price list import knows a column."""
    return _PRICE_LIST.fullmatch(name) is not None


def guess_delimiter(text: str) -> str:
    """
    The delimiter, as the server's parser guesses it.

    It takes the one that splits the first ten lines most evenly, if lines then have two fields or more on
    average; an empty last line counts too. So a file of two short columns is read as one column (M).
    """
    lines = text.splitlines()[:10]
    if len(lines) < 10 and text.endswith(("\n", "\r")):
        lines.append("")
    best, best_delta, most = ",", None, 1.99
    for delimiter in (",", "\t", "|", ";"):
        widths = [len(row) or 1 for row in csv.reader(lines, delimiter=delimiter)] or [1]
        delta = sum(abs(a - b) for a, b in pairwise(widths))
        average = sum(widths) / len(widths)
        if average > most and (best_delta is None or delta <= best_delta):
            best, best_delta, most = delimiter, delta, average
    return best


def read_rows(data: bytes, required: Sequence[str], *, prices: bool = False) -> list[Row]:
    """
    The rows below the header. A file without rows has no columns that could be wrong (M).

    :param required: columns that must be there and filled
    :param prices: a price list's columns, not a product's
    :raises StepFailed: with the server's text, for columns and values it can't take
    """
    text = data.decode("utf-8", "replace")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=guess_delimiter(text))
    header = next(lines, [])
    rows = []
    for number, cells in enumerate((cells for cells in lines if cells), start=1):
        row = dict(zip(header, cells, strict=False))
        if len(cells) > len(header):
            row["__parsed_extra"] = ""
        _check(row, number, required, prices=prices)
        rows.append(row)
    return rows


def _check(row: Row, number: int, required: Sequence[str], *, prices: bool) -> None:
    known = is_price_column if prices else is_product_column
    for name in row:
        if not known(name):
            raise _bad(
                f"Unable to treat column {name} from the csv file. "
                "No target column found in the provided schema"
            )
        if name in required and not row[name]:
            raise _bad(f'No value found for target column "{name}" in line {number} of the given csv file')
    missing = [f'"{name}"' for name in required if name not in row]
    if missing:
        raise _bad(f"Missing column(s) {', '.join(missing)} from the given csv file")


def _bad(reason: str) -> StepFailed:
    return StepFailed(f"The csv file parsing failed due to: {reason}")


def price_cells(row: Row) -> dict[str, str]:
    """Filled price columns, by what follows the word Price."""
    return {name[6:]: value for name, value in row.items() if name.startswith("Price ") and value}


def numbered(row: Row, pattern: str) -> list[str]:
    """Filled cells of numbered columns, in the order of the file."""
    return [value for name, value in row.items() if re.fullmatch(pattern, name) and value]


def check_regions(rows: Iterable[Row], regions: Iterable[str]) -> None:
    """S: a price may be for a region that exists. Raises `StepFailed`."""
    known = set(regions)
    for row in rows:
        for name in price_cells(row):
            region, bracket, _ = name.partition(" [")
            if bracket and region not in known:
                raise StepFailed(f"Trying to set a price for a region {region} that doesn't exist")
