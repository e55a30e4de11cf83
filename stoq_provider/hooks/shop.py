"""The part of a hook that every system has: its connection, its requests, and being told to stop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseHook

from stoq_provider import __version__
from stoq_provider.core.http import Decoded, ProblemKind, Request
from stoq_provider.exceptions import StoqProviderError
from stoq_provider.jobs.errors import of_problem, typed
from stoq_provider.systems.base import System
from stoq_provider.systems.payload import query_pairs

if TYPE_CHECKING:
    from requests import Session

    from stoq_provider.jobs.metrics import AirflowMeter
    from stoq_provider.transport.settings import ConnectionSettings
    from stoq_provider.transport.sync import SyncTransport

NOTHING_SENT = "Nothing was sent"
DETACHED = "A remote job that was submitted goes on; it can't be cancelled from here."


class Detached(StoqProviderError):
    """The task was told to stop while it waited; the remote job goes on."""


class ShopHook(BaseHook):
    """
    Connection and requests of one shop.

    :param conn_id: the Airflow connection.
    """

    system: ClassVar[System]
    form_ui: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    form_fields: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give each class the two methods of the form as its own: Airflow 2 does not see inherited ones."""
        super().__init_subclass__(**kwargs)
        for name in ("get_ui_field_behaviour", "get_connection_form_widgets"):
            if name not in cls.__dict__:
                setattr(cls, name, classmethod(getattr(cls, name).__func__))

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id
        self._stop = threading.Event()
        self._fate = DETACHED

    def __deepcopy__(self, memo: dict[int, Any]) -> ShopHook:
        """Begin anew: connections and the wait that may be under way belong to one task."""
        return type(self)(self.conn_id)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's behaviour for Airflow before 3.2; later versions read the provider info."""
        from stoq_provider.hooks.form import behaviour

        return behaviour(cls.form_ui)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow before 3.2; later versions read the provider info."""
        from stoq_provider.hooks.form import widgets

        return widgets(cls.form_fields)

    # -- connection ---------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> ConnectionSettings:
        """What the connection says, checked."""
        return self._read_settings(self.get_connection(self.conn_id))

    async def asettings(self) -> ConnectionSettings:
        """Read the connection without blocking the event loop (Airflow before 3.3.2 could deadlock)."""
        from airflow.providers.common.compat.connection import get_async_connection

        connection = await get_async_connection(self.conn_id)
        if hasattr(connection, "aextra_dejson"):
            extra = await connection.aextra_dejson()
        else:
            # Reading extra masks its secrets, which asks the supervisor and would block the loop.
            extra = await asyncio.to_thread(lambda: connection.extra_dejson)
        return self._read_settings(connection, extra)

    def _read_settings(self, connection: Any, extra: Mapping[str, Any] | None = None) -> ConnectionSettings:
        from stoq_provider.transport.settings import read_settings

        with typed(self.system.name, f"{NOTHING_SENT}; the connection is {self.conn_id!r}"):
            return read_settings(
                host=connection.host,
                port=connection.port,
                scheme=connection.schema,
                key=connection.password,
                extra=connection.extra_dejson if extra is None else extra,
                default_origin=self.system.default_origin,
                base_path=self.system.base_path,
                user_agent=user_agent(),
                login=connection.login,
            )

    @cached_property
    def _session(self) -> Session:
        from stoq_provider.transport.sync import make_session

        return make_session(self.settings, self.system)

    def get_conn(self) -> Session:
        """Return the ``requests`` session; it sends the key to the connection's own origin only."""
        return self._session

    @cached_property
    def transport(self) -> SyncTransport:
        """The driver that sends requests, counts points and waits out 429."""
        from stoq_provider.transport.sync import SyncTransport

        return SyncTransport(self.get_conn(), self.settings, self.system, sleep=self.sleep, meter=self.meter)

    @cached_property
    def meter(self) -> AirflowMeter:
        """What reports the shop's points to Airflow's metrics."""
        from stoq_provider.jobs.metrics import AirflowMeter

        return AirflowMeter(self.system.name, self.conn_id)

    def close(self) -> None:
        """Close the connections."""
        if "_session" in self.__dict__:
            self._session.close()

    # -- stopping -----------------------------------------------------------------------------------

    def stop(self, fate: str = DETACHED) -> None:
        """
        End every wait of this hook, from another thread or a signal handler.

        :param fate: what becomes of the remote job, in a sentence.
        """
        self._fate = fate
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def sleep(self, seconds: float) -> None:
        """
        Wait.

        :raises Detached: where the task was told to stop.
        """
        if self._stop.wait(max(0.0, seconds)):
            raise Detached(
                f"The task was told to stop while it waited for {self.system.label}. {self._fate}",
                system=self.system.name,
            )

    # -- requests -----------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
    ) -> Any:
        """
        Call the API and return the decoded payload.

        A read is sent again after passing faults, a write only after 429 or where no connection came about.

        :param path: relative to the API's base path, such as ``/preorders/orders``.
        :param params: the query; lists become ``name[]``.
        :raises StoqProviderError: the typed error of what came back, with the server's words.
        """
        with typed(self.system.name, NOTHING_SENT):
            request = Request(
                method.upper(), self.system.url(self.settings.origin, path), query_pairs(params or {}), json
            )
        return self._payload(request)

    def _payload(self, request: Request, job_id: str | None = None) -> Any:
        answer = self.transport.send(request)
        if answer.problem is not None:
            raise self._error(answer, request, job_id)
        return answer.payload

    def _error(self, answer: Decoded, request: Request, job_id: str | None) -> StoqProviderError:
        problem = answer.problem
        assert problem is not None
        final = problem.kind in (ProblemKind.AUTHENTICATION, ProblemKind.NOT_FOUND, ProblemKind.VALIDATION)
        if request.reads_only:
            fate = "It was a read: nothing was changed"
            fate += ". The task is not retried." if final else ", and a retry reads again."
        elif problem.maybe_processed:
            fate = "Whether it took effect is unknown; it was not sent again. Look before you repeat it."
        else:
            fate = "It did not take effect"
            fate += ". The task is not retried." if final else "; a retry sends it again."
        return of_problem(
            problem,
            system=self.system.name,
            doing=f"{request.target} at {self.system.label}",
            fate=fate,
            job_id=job_id,
            points_left=answer.rate_limit.remaining,
            reads_only=request.reads_only,
        )


def user_agent(dag_id: str | None = None) -> str:
    """
    Name the package, Airflow and the DAG, for whoever reads the vendor's logs.

    :param dag_id: left out on a worker, where Airflow names it in the environment.
    """
    from airflow import __version__ as airflow_version

    dag_id = dag_id or os.environ.get("AIRFLOW_CTX_DAG_ID", "")
    name = f"airflow-provider-stoq/{__version__} apache-airflow/{airflow_version}"
    ascii_dag = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in dag_id)
    return f"{name} (dag {ascii_dag})" if ascii_dag else name
