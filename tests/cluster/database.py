"""What a cluster's database tells and the API does not show, and what tests change there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from cryptography.fernet import Fernet

from tests.cluster.rest import Run

LIVE = """
select hostname, id from job where job_type = 'TriggererJob' and state = 'running'
and latest_heartbeat > now() - make_interval(secs => %s)
"""
SILENT = "update task_instance set last_heartbeat_at = '2000-01-01 00:00:00+00' where state = 'running'"


class Database:
    """
    The database of a cluster.

    :param url: ``postgres://...``
    :param fernet_key: Airflow encrypts the arguments of triggers with it.
    """

    def __init__(self, url: str, fernet_key: str) -> None:
        self.url = url
        self._fernet = Fernet(fernet_key)

    def triggers(self) -> list[str]:
        """Return the arguments of all triggers, as JSON."""
        return [self._plain(arguments) for (arguments,) in self.rows("select kwargs from trigger")]

    def triggerers(self, seconds: float) -> dict[str, int]:
        """Return the job id of each triggerer that reported in so many seconds, by its name."""
        return dict(self.rows(LIVE, seconds))

    def move_triggers(self, triggerer_id: int) -> None:
        """Give all triggers to one triggerer."""
        self.execute("update trigger set triggerer_id = %s", triggerer_id)

    def silence(self, run: Run, try_number: int) -> bool:
        """Move the last heartbeat of a running try into the past; ``False``: it does not run."""
        which = " and dag_id = %s and run_id = %s and try_number = %s"
        return self.execute(SILENT + which, run.dag_id, run.run_id, try_number) > 0

    def silence_worker(self, name: str) -> None:
        """Move the last heartbeat of all that runs on a worker into the past."""
        self.execute(f"{SILENT} and hostname = %s", name)

    def silence_schedulers(self) -> None:
        """Move the last heartbeat of each scheduler into the past: one that starts takes over its tasks."""
        self.execute(
            "update job set latest_heartbeat = '2000-01-01 00:00:00+00' where job_type = 'SchedulerJob'"
        )

    def everything(self) -> Iterator[tuple[str, str]]:
        """Return each table with a text of all its rows."""
        tables = self.rows("select tablename from pg_tables where schemaname = 'public' order by 1")
        for (table,) in tables:
            rows = self.rows(f'select row_to_json(entry)::text from "{table}" entry')
            yield table, "\n".join(text for (text,) in rows)

    def rows(self, query: str, *arguments: object) -> list[Any]:
        """Return the rows of a query."""
        with self._cursor() as cursor:
            cursor.execute(query, arguments or None)
            return list(cursor.fetchall())

    def execute(self, statement: str, *arguments: object) -> int:
        """Run a statement; return how many rows it changed."""
        with self._cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return int(cursor.rowcount)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            yield cursor

    def _plain(self, arguments: str) -> str:
        """Airflow encrypts what the scheduler writes, and leaves what a worker sends as it is."""
        return arguments if arguments.startswith("{") else self._fernet.decrypt(arguments).decode()
