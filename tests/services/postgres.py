"""PostgreSQL: a fresh cluster in a temporary folder, thrown away at the end."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from tests.services import debian
from tests.services.processes import Guarded, ServiceError, free_port, run

DEBIAN = Path("/usr/lib/postgresql")
OWNER = "tests"
CONNECTIONS = 200


def programs(log: Path) -> Path:
    """Return the folder of PostgreSQL's programs; root installs Debian's package where there are none."""
    if found := _programs():
        return found
    debian.install("postgresql", log)
    if found := _programs():
        return found
    raise ServiceError("apt-get installed no PostgreSQL")


def _programs() -> Path | None:
    """Debian keeps ``initdb`` off the path, in a folder for each version."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(re.sub(r"\D", "", path.parts[-3])))
    return found[-1].parent if found else None


class Postgres:
    """
    A database cluster of its own.

    :param folder: the temporary folder of the run; removed with everything in it once the server has ended.
    :param logs: folder that takes ``postgres.log``.
    :param database: name of its one database.
    """

    def __init__(self, folder: Path, logs: Path, database: str) -> None:
        self.database = database
        self._programs = programs(logs / "apt.log")
        self._log = logs / "postgres.log"
        self._folder = folder
        # PostgreSQL refuses to run as root.
        self._user = _unprivileged() if os.geteuid() == 0 else None
        self._port = free_port()
        self._password = secrets.token_hex(16)
        self._data = folder / "postgres" / "data"
        self._server = Guarded(
            "PostgreSQL",
            [self._programs / "postgres", "-D", self._data, *self._settings()],
            self._log,
            cwd=Path("/"),
            stop=signal.SIGQUIT,  # the data are thrown away, so nothing needs to be written
            user=self._user,
            folder=folder,
        )

    @property
    def url(self) -> str:
        return f"postgres://{OWNER}:{self._password}@127.0.0.1:{self._port}/{self.database}"

    def paused(self) -> AbstractContextManager[None]:
        """Stop the server for a while; whoever asks it something waits."""
        return self._server.paused()

    def start(self) -> None:
        """Make the cluster and an empty database in it."""
        home = self._data.parent
        home.mkdir(mode=0o700)
        password = home / "password"
        password.write_text(self._password, "ascii")
        if self._user is not None:
            for path in (home, password):
                shutil.chown(path, self._user, self._user)
        make = [self._programs / "initdb", "--pgdata", self._data, "--username", OWNER, "--no-sync"]
        encoding = ["--encoding=UTF8", "--locale=C"]
        access = ["--auth=scram-sha-256", f"--pwfile={password}"]
        run("initdb", [*make, *encoding, *access], self._log, cwd=Path("/"), user=self._user)
        password.unlink()
        self._server.start(self._listens)
        self.client("createdb", self.database)

    def stop(self) -> None:
        self._server.stop()

    def client(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's client programs."""
        environment = self._access
        run(
            program,
            [self._programs / program, *arguments],
            self._log,
            cwd=self._folder,
            environment=environment,
        )

    def dump(self, file: Path) -> None:
        """Write the database to a file that `restore` reads."""
        self.client("pg_dump", "--format=plain", "--no-owner", f"--file={file}", self.database)

    def restore(self, file: Path) -> None:
        """Fill the empty database; one transaction, stopped at the first error."""
        self._psql(f"--file={file}")

    def execute(self, statement: str) -> None:
        """Run a statement on the database."""
        self._psql(f"--command={statement}")

    def value(self, query: str) -> str:
        """Return the one value that a query gives."""
        ask = [*self._bare_psql(), f"--command={query}"]
        done = subprocess.run(
            ask,
            cwd=self._folder,
            env={**os.environ, **self._access},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Keep everybody else out of a table, readers as well."""
        holder = subprocess.Popen(
            self._bare_psql(),
            cwd=self._folder,
            env={**os.environ, **self._access},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        with holder:
            # At the end of its input psql leaves, and the transaction and its lock go with it.
            holder.stdin.write(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
            holder.stdin.flush()
            line = holder.stdout.readline().strip()
            assert line == "locked", line
            yield

    def _bare_psql(self) -> list[str]:
        plain = ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--tuples-only", "--no-align"]
        return [str(self._programs / "psql"), *plain, self.database]

    @property
    def _access(self) -> dict[str, str]:
        """The environment of client programs."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self._port),
            "PGUSER": OWNER,
            "PGPASSWORD": self._password,
        }

    def _psql(self, *what: str) -> None:
        once = ["--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        self.client("psql", *once, *what, "--output=/dev/null", self.database)

    def _settings(self) -> list[str]:
        settings = {
            "max_connections": CONNECTIONS,
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port)]
            return subprocess.run(ready, check=False).returncode == 0
        return False


def _unprivileged() -> str:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ServiceError("PostgreSQL does not run as root, and there is no user postgres")
