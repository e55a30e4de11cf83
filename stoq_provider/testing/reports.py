"""The nine reports: which rows they have, as JSON and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

from stoq_provider.testing.records import Line, Order, money
from stoq_provider.testing.shop import DAYS, FIRST_DAY, Shop

# Invented: names of the metric columns.
METRICS = ("orders", "units", "gross_sales", "deposits", "balances")
Row = dict[str, Any]


class Sale(NamedTuple):
    """One line with its order."""

    order: Order
    line: Line


@dataclass(frozen=True)
class Filters:
    """Filters of a report, read and export alike."""

    first: date
    last: date
    offer_ids: frozenset[str]
    product_id: int | None
    variant_id: int | None
    market_id: int | None
    currency: str | None
    granularity: str
    metrics: tuple[str, ...]
    include_deposits: bool
    include_balances: bool

    @classmethod
    def parse(cls, params: dict[str, Any]) -> Filters:
        """Read validated parameters. Invented: without `from` and `to` the whole life of the shop."""
        begin = FIRST_DAY.date()
        offers = set(params.get("offer_ids") or ())
        if params.get("offer_id"):
            offers.add(params["offer_id"])
        return cls(
            first=_date(params.get("from"), begin),
            last=_date(params.get("to"), begin + timedelta(days=DAYS - 1)),
            offer_ids=frozenset(offers),
            product_id=params.get("product_id"),
            variant_id=params.get("variant_id"),
            market_id=params.get("market_id"),
            currency=params.get("currency"),
            granularity=params.get("granularity") or "day",
            metrics=tuple(params.get("metrics") or METRICS),
            include_deposits=params.get("include_deposits", True),
            include_balances=params.get("include_balances", True),
        )

    def matches(self, order: Order, line: Line) -> bool:
        """Whether a line belongs to the report. `from` and `to` are both inclusive (documented)."""
        wanted = (
            (self.product_id, line.product_id),
            (self.variant_id, line.variant_id),
            (self.market_id, order.market_id),
            (self.currency, order.currency),  # Invented: a filter, no conversion
        )
        return (
            self.first <= date.fromisoformat(order.created_at[:10]) <= self.last
            and (not self.offer_ids or line.offer_id in self.offer_ids)
            and all(want is None or want == have for want, have in wanted)
        )

    def bucket(self, order: Order) -> str:
        """First day of the day, week (Invented: Monday) or month of an order."""
        day = date.fromisoformat(order.created_at[:10])
        if self.granularity == "week":
            day -= timedelta(days=day.weekday())
        elif self.granularity == "month":
            day = day.replace(day=1)
        return day.isoformat()


def _date(text: str | None, default: date) -> date:
    return date.fromisoformat(text) if text else default


def sales(shop: Shop, filters: Filters) -> Iterator[Sale]:
    """Lines that pass the filters, oldest order first."""
    for order in shop.orders.values():
        for line in order.lines:
            if filters.matches(order, line):
                yield Sale(order, line)


def measure(chosen: list[Sale]) -> Row:
    """All metrics over some lines."""
    collected = [s for s in chosen if s.order.collected]
    return {
        "orders": len({sale.order.shopify_order_id for sale in chosen}),
        "units": sum(sale.line.quantity for sale in chosen),
        "gross_sales": money(sum(sale.line.total_cents for sale in chosen)),
        "deposits": money(sum(sale.line.deposit_cents for sale in chosen)),
        "balances": money(sum(sale.line.balance_cents for sale in collected)),
    }


def grouped(chosen: list[Sale], key: Callable[[Sale], Any]) -> list[tuple[Any, list[Sale]]]:
    """Lines by key, in order of the keys."""
    groups: dict[Any, list[Sale]] = {}
    for sale in chosen:
        groups.setdefault(key(sale), []).append(sale)
    return sorted(groups.items())


Rows = Callable[[Shop, Filters], list[Row]]


@dataclass(frozen=True)
class Report:
    """One report: its name, its columns and its rows."""

    name: str
    description: str
    columns: Callable[[Filters], tuple[str, ...]]
    rows: Rows
    aliases: tuple[str, ...] = ()
    filters: tuple[str, ...] = ("product_id", "variant_id", "market_id")
    invented: bool = False

    def table(self, shop: Shop, filters: Filters) -> tuple[tuple[str, ...], list[list[Any]]]:
        """Columns and rows of the CSV."""
        columns = self.columns(filters)
        return columns, [[row[name] for name in columns] for row in self.rows(shop, filters)]


def _summary_rows(shop: Shop, filters: Filters) -> list[Row]:
    return [{"from": str(filters.first), "to": str(filters.last)} | measure(list(sales(shop, filters)))]


def _revenue_columns(filters: Filters) -> tuple[str, ...]:
    flags = (("deposits", filters.include_deposits), ("balances", filters.include_balances))
    return ("date", *(name for name, wanted in flags if wanted), "revenue")


def _revenue_rows(shop: Shop, filters: Filters) -> list[Row]:
    rows = []
    for day, chosen in grouped(list(sales(shop, filters)), lambda sale: filters.bucket(sale.order)):
        deposits = sum(s.line.deposit_cents for s in chosen) if filters.include_deposits else 0
        collected = [s for s in chosen if s.order.collected]
        balances = sum(s.line.balance_cents for s in collected) if filters.include_balances else 0
        amounts = {"deposits": deposits, "balances": balances, "revenue": deposits + balances}
        row = {"date": day} | {name: money(cents) for name, cents in amounts.items()}
        rows.append({name: row[name] for name in _revenue_columns(filters)})
    return rows


def _date_rows(shop: Shop, filters: Filters) -> list[Row]:
    groups = grouped(list(sales(shop, filters)), lambda sale: filters.bucket(sale.order))
    return [{"date": day} | _only(measure(chosen), filters.metrics) for day, chosen in groups]


def _only(measured: Row, names: tuple[str, ...]) -> Row:
    return {name: value for name, value in measured.items() if name in names}


def _date_columns(filters: Filters) -> tuple[str, ...]:
    return ("date", *(name for name in METRICS if name in filters.metrics))


VARIANT_COLUMNS = (
    "shopify_variant_id",
    "shopify_product_id",
    "product_title",
    "title",
    "shipping_text",
    "sku",
)


def _variant_rows(shop: Shop, filters: Filters) -> list[Row]:
    rows = []
    for variant_id, chosen in grouped(list(sales(shop, filters)), lambda sale: sale.line.variant_id):
        variant = shop.variants[variant_id]
        values = (
            variant.id,
            variant.product_id,
            variant.product_title,
            variant.title,
            variant.shipping_text,
            variant.sku,
        )
        rows.append(dict(zip(VARIANT_COLUMNS, values, strict=True)) | measure(chosen))
    return rows


def _product_rows(shop: Shop, filters: Filters) -> list[Row]:
    titles = {variant.product_id: variant.product_title for variant in shop.variants.values()}
    groups = grouped(list(sales(shop, filters)), lambda sale: sale.line.product_id)
    return [
        {"shopify_product_id": product_id, "product_title": titles[product_id]} | measure(chosen)
        for product_id, chosen in groups
    ]


def _customer_rows(shop: Shop, filters: Filters) -> list[Row]:
    rows = []
    for _, chosen in grouped(list(sales(shop, filters)), lambda sale: sale.order.customer.id):
        customer = chosen[0].order.customer
        rows.append(
            {
                "customer_id": customer.id,
                "name": customer.name,
                "email": customer.email,
                "note": customer.note,
            }
            | measure(chosen)
        )
    return rows


def _offer_rows(shop: Shop, filters: Filters) -> list[Row]:
    groups = grouped(list(sales(shop, filters)), lambda sale: sale.line.offer_id)
    return [
        {"offer_id": offer_id, "name": shop.offers[offer_id].name} | measure(chosen)
        for offer_id, chosen in groups
    ]


def _by(column: str, key: Callable[[Sale], Any]) -> Rows:
    def rows(shop: Shop, filters: Filters) -> list[Row]:
        groups = grouped(list(sales(shop, filters)), key)
        return [{column: value} | measure(chosen) for value, chosen in groups]

    return rows


def _fixed(*names: str) -> Callable[[Filters], tuple[str, ...]]:
    return lambda filters: (*names, *METRICS)


_SERIES = ("product_id", "variant_id", "market_id", "granularity")
# Documented: the names up to `customers` and their filters. Invented: every column of every report.
REPORTS = {
    report.name: report
    for report in (
        Report("summary", "Headline totals", _fixed("from", "to"), _summary_rows, ("overview",)),
        Report(
            "revenue",
            "Revenue by date",
            _revenue_columns,
            _revenue_rows,
            ("sales",),
            (*_SERIES, "include_deposits", "include_balances"),
        ),
        Report("by_date", "Metrics by date", _date_columns, _date_rows, ("timeline",), (*_SERIES, "metrics")),
        Report("by_variant", "Totals by variant", _fixed(*VARIANT_COLUMNS), _variant_rows, ("variants",)),
        Report(
            "customers",
            "Customers who preordered",
            _fixed("customer_id", "name", "email", "note"),
            _customer_rows,
            filters=("page", "per_page"),
        ),
        # Invented: the name, inferred from "the product/variant breakdowns".
        Report(
            "by_product",
            "Totals by product",
            _fixed("shopify_product_id", "product_title"),
            _product_rows,
            invented=True,
        ),
        # Invented: the next three; the documentation speaks of nine reports and these are not readable.
        Report("by_offer", "Totals by offer", _fixed("offer_id", "name"), _offer_rows, invented=True),
        Report(
            "by_market",
            "Totals by market",
            _fixed("market_id"),
            _by("market_id", lambda sale: sale.order.market_id),
            invented=True,
        ),
        Report(
            "by_state",
            "Totals by order state",
            _fixed("state"),
            _by("state", lambda sale: sale.order.state),
            invented=True,
        ),
    )
}
