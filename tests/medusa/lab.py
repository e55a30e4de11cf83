"""
A real Medusa 1.20.11 on loopback, installed, migrated and seeded on the way.

Installed packages and a dump of the seeded shop are kept in ``.medusa-lab`` of the checkout, each renewed
when what it is made from changes. A run has a database cluster and a folder of its own: it starts from the
seeded shop, whatever runs before it did, and leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from tests.medusa import seed
from tests.services.postgres import Postgres
from tests.services.processes import PATIENCE, Guarded, ServiceError, free_port, run, tail

SOURCES = Path(__file__).with_name("lab")
CACHE = Path(__file__).parents[2] / ".medusa-lab"
PACKAGES = ("package.json", "package-lock.json")
PROGRAMS = ("medusa-config.js", "server.js")
OLDEST_NODE = 18

PAUSE = 0.4
"""Seconds between two looks of the server at its queue; by itself Medusa takes three (``lab/server.js``)."""

BUSY = """
SELECT (SELECT count(*) FROM staged_job WHERE event_name IN ('batch.created', 'batch.confirmed'))
  + (SELECT count(*) FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL)
"""
"""How many steps wait in the queue, between other news, or are being done, each in a transaction."""


class Medusa:
    """
    A running Medusa server; `start` and `stop` it, or use it as a context.

    :ivar origin: address of the API, the same after a restart.
    :ivar api_token: of the administrator, for the header ``x-medusa-access-token``.
    :ivar email: login of the administrator.
    :ivar password: of the login.
    :ivar other_email: login of a second administrator, with the same password.
    """

    api_token = seed.API_TOKEN
    email = seed.EMAIL
    password = seed.PASSWORD
    other_email = seed.OTHER_EMAIL

    def __init__(self) -> None:
        self._port = free_port()
        self.origin = f"http://127.0.0.1:{self._port}"
        self._started: _Shop | None = None

    def start(self) -> Medusa:
        """Start from the seeded shop; what is missing is installed first (a minute or two, once)."""
        prepare()
        shop = _Shop(self._port, _logs())
        shop.open(seeded=_dump())
        self._started = shop
        return self

    def stop(self) -> None:
        """Stop the server and its database, and remove what they wrote."""
        shop, self._started = self._started, None
        if shop is not None:
            shop.close()

    def kill(self) -> None:
        """Kill the server (SIGKILL); the database goes on."""
        self._shop.server.kill()

    def restart(self) -> None:
        """Start the server again at the same address, after a kill or in good order."""
        self._shop.server.stop()
        self._shop.serve()

    def stop_server(self) -> None:
        """Stop the server, which may have died by itself; the database goes on."""
        self._shop.server.stop()

    def queue(self, order: str) -> None:
        """
        Say when the server looks at its queue; after a start it does so every `PAUSE`.

        :param order: ``hold`` it, have the server ``look`` at it once while it is held, or ``release`` it.
            All return once that is done; a look is done when all that was in the queue has begun.
        """
        requests.post(f"{self.origin}/lab/queue/{order}", timeout=PATIENCE).raise_for_status()

    def empty_queue(self) -> None:
        """Forget every step that waits; while the server is dead."""
        assert not self.running
        self._shop.database.execute("DELETE FROM staged_job")

    def idle(self) -> bool:
        """Whether the server runs, nothing waits in its queue, and nothing is being done."""
        try:
            self.queue("hold")
        except requests.RequestException:
            return False
        idle = self._shop.database.value(BUSY) == "0"
        self.queue("release")
        return idle

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Have every step wait that needs this table."""
        with self._shop.database.locked(table):
            yield

    @property
    def running(self) -> bool:
        return self._shop.server.running

    def log(self) -> str:
        """The end of what the server wrote."""
        return tail(self._shop.server.log)

    @property
    def _shop(self) -> _Shop:
        assert self._started is not None, "the lab is not running"
        return self._started

    def __enter__(self) -> Medusa:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


class _Shop:
    """A server with a database, in a temporary folder."""

    def __init__(self, port: int, logs: Path) -> None:
        self._origin = f"http://127.0.0.1:{port}"
        self._logs = logs
        # Not in the checkout: the user that runs PostgreSQL may not be allowed to enter it.
        self._folder = Path(tempfile.mkdtemp(prefix="medusa-lab-"))
        self._folder.chmod(0o711)
        self._site = self._folder / "site"
        self.database = Postgres(self._folder, logs, "medusa")
        self._environment = {
            "DATABASE_URL": self.database.url,
            "SHOP_ORIGIN": self._origin,
            "SHOP_PORT": str(port),
            "SHOP_PAUSE": str(int(1000 * PAUSE)),
            "NODE_ENV": "development",
            "NODE_NO_WARNINGS": "1",
            "MEDUSA_DISABLE_TELEMETRY": "true",
            "XDG_CONFIG_HOME": str(self._folder / "config"),  # the command line keeps settings of a user
        }
        self.server = Guarded(
            "Medusa",
            [_node(), "server.js"],
            logs / "medusa.log",
            cwd=self._site,
            environment=self._environment,
        )

    def open(self, seeded: Path | None) -> None:
        """Start both; with an empty database if there is no dump, and then the server is not started."""
        for log in ("medusa.log", "postgres.log"):
            (self._logs / log).unlink(missing_ok=True)
        try:
            (self._site / "uploads").mkdir(parents=True)
            for name in (*PACKAGES, *PROGRAMS):
                shutil.copy(SOURCES / name, self._site)
            (self._site / "node_modules").symlink_to(_modules())
            self.database.start()
            if seeded is not None:
                self.database.restore(seeded)
                self.serve()
        except BaseException:
            self.close()
            raise

    def serve(self) -> None:
        """Start the server and check that it knows the administrator."""
        self.server.start(self._healthy)
        headers = {"x-medusa-access-token": seed.API_TOKEN}
        answer = requests.get(f"{self._origin}/admin/batch-jobs?limit=1", headers=headers, timeout=30)
        if answer.status_code != 200:
            raise ServiceError(
                f"the server does not take the token: {answer.status_code} {answer.text[:200]}"
            )

    def fill(self) -> None:
        """Bring an empty database to the seeded state."""
        # The command line is a script of node; --ignore-scripts does not make it executable everywhere.
        medusa = [_node(), "node_modules/@medusajs/medusa/cli.js"]
        catalog = self._site / "catalog.json"
        catalog.write_text(json.dumps(seed.catalog()), "utf-8")
        for name, arguments in {
            "migrate": ["migrations", "run"],
            "seed": ["seed", "--seed-file", catalog, "--migrate", "false"],
        }.items():
            log = self._logs / f"{name}.log"
            run(f"medusa {name}", [*medusa, *arguments], log, cwd=self._site, environment=self._environment)
        self.serve()
        seed.OrderMaker(self._origin).make()
        self.server.stop()

    def close(self) -> None:
        self.server.stop()
        self.database.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _healthy(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self._origin}/health", timeout=5).ok
        return False


def prepare() -> None:
    """Install the packages and make the dump of the seeded shop, unless both are there and up to date."""
    CACHE.mkdir(exist_ok=True)
    with _alone():
        if not _modules().is_dir():
            _install()
        if not _dump().is_file():
            _make_dump()


def _install() -> None:
    """Install into a folder that gets its name only once it is whole."""
    _forget("packages-*")
    folder = _modules().parent
    half = folder.with_name("packages-half")
    half.mkdir()
    for name in PACKAGES:
        shutil.copy(SOURCES / name, half)
    # Install scripts of several hundred packages are nobody's business; none of them is needed.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    # The lock file holds digests and no addresses. Those are in npm's cache where the packages are, and need
    # not be asked for again: that is half of the time.
    run("npm ci", [_npm(), "ci", "--prefer-offline", *options], _logs() / "npm.log", cwd=half)
    half.rename(folder)


def _make_dump() -> None:
    _forget("seeded-*")
    shop = _Shop(free_port(), _logs())
    shop.open(seeded=None)
    try:
        shop.fill()
        half = CACHE / "seeded-half"
        shop.database.dump(half)
        half.rename(_dump())
    finally:
        shop.close()


def _logs() -> Path:
    """Workers of one test run each have a server, and logs of their own."""
    folder = CACHE / "logs" / os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _forget(pattern: str) -> None:
    for old in CACHE.glob(pattern):
        shutil.rmtree(old) if old.is_dir() else old.unlink()


def _modules() -> Path:
    return CACHE / f"packages-{_digest(*PACKAGES)}" / "node_modules"


def _dump() -> Path:
    makers = ("../seed.py", "../lab.py", "../../services/postgres.py")
    return CACHE / f"seeded-{_digest(*PACKAGES, *PROGRAMS, *makers)}.sql"


def _digest(*names: str) -> str:
    return hashlib.sha256(b"\0".join((SOURCES / name).read_bytes() for name in names)).hexdigest()[:12]


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs in one checkout must not install at the same time."""
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _node() -> str:
    node = shutil.which("node")
    hint = f"Node.js {OLDEST_NODE} or newer is needed"
    if node is None:
        raise ServiceError(hint)
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        raise ServiceError(f"{hint}, found {version}")
    return node


def _npm() -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise ServiceError("npm is needed to install Medusa")
    return npm


def main() -> None:
    """Prepare the lab, as ``make test-medusa`` does before its first test."""
    os.umask(0o022)
    prepare()


if __name__ == "__main__":
    main()
