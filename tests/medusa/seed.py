"""What the lab's shop holds: 36 products with 72 variants, an administrator, and 3 orders."""

from __future__ import annotations

from typing import Any

import requests

EMAIL = "keeper@shop.test"
OTHER_EMAIL = "colleague@shop.test"
"""A second administrator with the same password and no token: sees none of the first one's jobs."""
PASSWORD = "keeper-of-the-lab"
API_TOKEN = "token-of-the-lab-0f3a"

PRODUCTS = 36
VARIANTS = 72
ORDERS = 3

SIZES = ("Small", "Medium", "Large")
CURRENCIES = ("eur", "usd")
IMAGE = "http://images.shop.test"
"""Nobody asks for an image; a fixed address keeps exports alike from run to run."""


def catalog() -> dict[str, Any]:
    """Return the file that Medusa's ``seed`` command reads."""
    return {
        "store": {"currencies": list(CURRENCIES)},
        "users": [
            {"email": EMAIL, "password": PASSWORD, "api_token": API_TOKEN},
            {"email": OTHER_EMAIL, "password": PASSWORD},
        ],
        "regions": [
            _region("lab-europe", "Europe", "eur", "de", "nl"),
            _region("lab-us", "States", "usd", "us"),
        ],
        "products": [_product(number) for number in range(1, PRODUCTS + 1)],
        "shipping_options": [],
        "categories": [],
        "product_collections": [],
        "publishable_api_keys": [],
        "rule_types": [],
    }


def _region(region_id: str, name: str, currency: str, *countries: str) -> dict[str, Any]:
    return {
        "id": region_id,
        "name": name,
        "currency_code": currency,
        "countries": list(countries),
        "tax_rate": 0,
        "payment_providers": ["manual"],
        "fulfillment_providers": ["manual"],
    }


def _product(number: int) -> dict[str, Any]:
    """One to three variants; every fourth has text that a careless reader of CSV trips over."""
    awkward = number % 4 == 0
    return {
        "title": f'Lamp {number:02d}; "wall", 230 V' if awkward else f"Lamp {number:02d}",
        "handle": f"lamp-{number:02d}",
        "description": f"First line\nsecond line of lamp {number}"
        if awkward
        else f"Ümläut lamp {number} — ready",
        "status": "draft" if number % 9 == 0 else "published",
        "is_giftcard": False,
        "weight": 250 + number,
        "images": [f"{IMAGE}/lamp-{number:02d}.png"],
        "options": [{"title": "Size"}],
        "variants": [_variant(number, place) for place in range(1 + number % len(SIZES))],
    }


def _variant(number: int, place: int) -> dict[str, Any]:
    amount = 2000 + 10 * number + place
    return {
        "title": SIZES[place],
        "sku": f"LAMP-{number:02d}-{SIZES[place][0]}",
        "inventory_quantity": 5 * number + place,
        "manage_inventory": True,
        "options": [{"value": SIZES[place]}],
        "prices": [{"currency_code": code, "amount": amount} for code in CURRENCIES],
    }


class OrderMaker:
    """Makes paid orders through a running server, the way an administrator does: as drafts that are paid."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._session = requests.Session()
        self._session.headers["x-medusa-access-token"] = API_TOKEN

    def make(self) -> None:
        (region,) = [entry for entry in self._get("regions") if entry["currency_code"] == "eur"]
        shipping = self._post("shipping-options", **self._shipping(region["id"]))["shipping_option"]["id"]
        variants = sorted(self._get("variants?limit=100"), key=lambda entry: str(entry["sku"]))
        for number, variant in enumerate(variants[:ORDERS], start=1):
            draft = self._post("draft-orders", **_draft(number, region["id"], variant["id"], shipping))
            self._post(f"draft-orders/{draft['draft_order']['id']}/pay")

    def _shipping(self, region: str) -> dict[str, Any]:
        (profile,) = [entry for entry in self._get("shipping-profiles") if entry["type"] == "default"]
        return {
            "name": "Parcel",
            "region_id": region,
            "profile_id": profile["id"],
            "provider_id": "manual",
            "data": {"id": "manual-fulfillment"},
            "price_type": "flat_rate",
            "amount": 490,
        }

    def _get(self, what: str) -> list[dict[str, Any]]:
        answer = self._session.get(f"{self._origin}/admin/{what}", timeout=30)
        answer.raise_for_status()
        entries: list[dict[str, Any]] = answer.json()[what.split("?")[0].replace("-", "_")]
        return entries

    def _post(self, what: str, **body: Any) -> dict[str, Any]:
        answer = self._session.post(f"{self._origin}/admin/{what}", json=body, timeout=30)
        assert answer.ok, f"{what}: {answer.status_code} {answer.text}"
        made: dict[str, Any] = answer.json()
        return made


def _draft(number: int, region: str, variant: str, shipping: str) -> dict[str, Any]:
    return {
        "email": f"customer-{number}@shop.test",
        "region_id": region,
        "items": [{"variant_id": variant, "quantity": number}],
        "shipping_methods": [{"option_id": shipping}],
        "shipping_address": {
            "first_name": "Ada",
            "last_name": f"Customer {number}",
            "address_1": f"Canal {number}",
            "city": "Town",
            "postal_code": f"1000{number}",
            "country_code": "nl",
        },
    }
