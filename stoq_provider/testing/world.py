"""Everything one sandbox knows: shops by key, jobs, files, faults and counters."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any
from urllib.parse import quote

from stoq_provider.testing import SANDBOX_KEY
from stoq_provider.testing.clock import JobClock
from stoq_provider.testing.content import Content
from stoq_provider.testing.faults import FaultBook
from stoq_provider.testing.jobs import JobBook
from stoq_provider.testing.medusa.store import MedusaSite
from stoq_provider.testing.points import PointsBucket
from stoq_provider.testing.printstudio.studio import PrintStudioSite
from stoq_provider.testing.shop import Shop, ShopSize
from stoq_provider.testing.site import Power, Site, SiteSetup
from stoq_provider.testing.surecart.account import SureCartSite

SITE_KINDS: dict[str, Callable[[SiteSetup], Site]] = {
    "medusa": MedusaSite,
    "surecart": SureCartSite,
    "printstudio": PrintStudioSite,
}
BASE_PATH = "/api/v2/external"
URL_LIFETIME = 7 * 24 * 3600  # documented: seven days


@dataclass(frozen=True)
class Options:
    """How a sandbox is set up."""

    time_scale: float = 1.0
    seed: int = 7
    points_limit: int = 360
    window_seconds: float = 60.0
    size: ShopSize = field(default_factory=ShopSize)
    extra_keys: tuple[str, ...] = ()


@dataclass
class Tenant:
    """What belongs to one key: a shop, which is made when it is asked for, and a bucket of points."""

    key: str
    seed: int
    size: ShopSize
    bucket: PointsBucket

    @cached_property
    def shop(self) -> Shop:
        """The shop with its records."""
        shop: Shop = pickle.loads(_pickled_shop(self.seed, self.size))  # noqa: S301 - of our own making
        return shop

    @property
    def shop_if_made(self) -> Shop | None:
        """The shop, unless nobody has asked for it."""
        return vars(self).get("shop")


@cache
def _pickled_shop(seed: int, size: ShopSize) -> bytes:
    # A shop is made anew at each reset, and reading a copy takes a third of the time.
    return pickle.dumps(Shop(seed, size), pickle.HIGHEST_PROTOCOL)


@dataclass
class Counters:
    """What was asked of the sandbox."""

    requests: Counter[str] = field(default_factory=Counter)
    unauthorized: int = 0
    keyed_file_requests: int = 0
    submissions: list[dict[str, Any]] = field(default_factory=list)
    downloads: list[dict[str, Any]] = field(default_factory=list)


class World:
    """
    State behind all origins. Touched by the server's event loop only.

    :param options: how the sandbox is set up
    :param doors: closes the listening socket of an origin for so many real seconds, or until it is reopened
    """

    def __init__(self, options: Options, doors: Callable[[str, float | None], None] | None = None) -> None:
        self.options = options
        self._sites: dict[str, Site] = {}
        self._doors = doors
        self._generation = 0
        self._files_port = 0
        self._build()

    def _build(self) -> None:
        options = self.options
        self.clock = JobClock(options.time_scale)
        self.jobs = JobBook(self.clock, self._seed)
        self.faults = FaultBook()
        self.counters = Counters()
        self.files: dict[str, Content] = {}
        self._signing_key = hashlib.sha256(self._seed.encode()).digest()
        self._serial = 0
        self.tenants = {
            key: Tenant(
                key,
                options.seed + index,
                options.size,
                PointsBucket(options.points_limit, options.window_seconds),
            )
            for index, key in enumerate((SANDBOX_KEY, *options.extra_keys))
        }
        for site in self._sites.values():
            site.retire()
        self._sites = {}

    def site(self, name: str) -> Site:
        """A system next to STOQ, seeded when it is first asked for: most tests ask for none."""
        if name not in self._sites:
            setup = SiteSetup(self.clock, f"{name}.{self._seed}", self._power(name))
            self._sites[name] = SITE_KINDS[name](setup)
        return self._sites[name]

    @property
    def _seed(self) -> str:
        """Ids of an earlier generation must not come to life again after a reset."""
        return f"{self.options.seed}.{self._generation}"

    def _power(self, name: str) -> Power:
        def off(seconds: float | None) -> None:
            if self._doors is not None:
                self._doors(name, seconds)

        return off

    def settle(self) -> None:
        """Bring the jobs of all systems up to now."""
        self.jobs.settle()
        for site in self._sites.values():
            site.settle()

    def reset(self) -> None:
        """Back to the seeded state: no jobs, files, faults, settings or counters; full buckets."""
        self._generation += 1
        self.faults.clear()
        self._build()

    def set_files_port(self, port: int) -> None:
        """Say where downloads are served."""
        self._files_port = port

    def signed_url(self, host: str, path: str, lifetime: float | None) -> str:
        """
        Sign a link afresh.

        Invented: re-polling gives another link to the same file, and the serial number that makes it one.
        """
        self._serial += 1
        signed_at = int(self.clock.now())
        expires = int(URL_LIFETIME if lifetime is None else lifetime)
        signature = self.signature(path, str(signed_at), str(expires), str(self._serial))
        query = (
            f"X-Amz-Date={signed_at}&X-Amz-Expires={expires}"
            f"&X-Sandbox-Serial={self._serial}&X-Amz-Signature={signature}"
        )
        return f"http://{host}:{self._files_port}{quote(path)}?{query}"

    def signature(self, *parts: str) -> str:
        """Signature of a link."""
        return hmac.new(self._signing_key, "\n".join(parts).encode(), "sha256").hexdigest()

    def state(self) -> dict[str, Any]:
        """Counters and the true lives of jobs, for the control endpoint."""
        self.jobs.settle()
        counters = self.counters
        buckets = [tenant.bucket for tenant in self.tenants.values()]
        return {
            "now": self.clock.now(),
            "requests": dict(counters.requests),
            "unauthorized": counters.unauthorized,
            "rate_limited": sum(bucket.refused for bucket in buckets),
            "points_spent": sum(bucket.spent_total for bucket in buckets),
            "highest_points_in_window": max(bucket.highest_in_window for bucket in buckets),
            "highest_points_rolling": max(bucket.highest_rolling for bucket in buckets),
            "buckets": {key: tenant.bucket.state() for key, tenant in self.tenants.items()},
            "submissions": list(counters.submissions),
            "submissions_by_kind": dict(Counter(entry["kind"] for entry in counters.submissions)),
            "payment_links": self._payment_links(),
            "jobs": {job.job_id: job.view() for job in self.jobs.jobs.values()},
            "downloads": list(counters.downloads),
            "keyed_file_requests": counters.keyed_file_requests,
            "faults": self.faults.state(),
            **{name: self.site(name).state() for name in SITE_KINDS},
        }

    def _payment_links(self) -> dict[str, int]:
        return {
            str(order.shopify_order_id): order.payment_links
            for tenant in self.tenants.values()
            if (shop := tenant.shop_if_made) is not None
            for order in shop.orders.values()
            if order.payment_links
        }
