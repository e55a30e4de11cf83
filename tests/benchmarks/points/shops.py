"""The process of a sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import ShopSize
from tests.benchmarks.points.children import serve

SMALL = ShopSize(orders=10, variants=10, offers=2, customers=5)


def work(hear: Callable[[], Any], tell: Callable[[Any], None]) -> None:
    more = tuple(f"stoq_api_key_{number:032d}" for number in range(1, hear()["shops"]))
    with Sandbox(extra_keys=more, size=SMALL) as sandbox:
        tell({"origin": sandbox.origin, "keys": [sandbox.key, *more]})
        while True:
            tell(sandbox.start_jobs(**hear()))


if __name__ == "__main__":
    serve(work)
