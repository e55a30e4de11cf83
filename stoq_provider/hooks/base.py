"""
What the hooks of all systems share: the connection, requests, jobs, and stopping.

A subclass names its :class:`~stoq_provider.systems.base.System` and adds the calls that only its own
system has. HTTP is done by ``transport``, decisions by ``core``, the life of a job by ``jobs``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import BaseHook

from stoq_provider.core.error_text import hide_queries, sentences
from stoq_provider.core.http import Request
from stoq_provider.core.models import JobHandle, JobStatus
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import check_json, check_text
from stoq_provider.download.options import DOWNLOADS_AGAIN
from stoq_provider.exceptions import Detached
from stoq_provider.get_provider_info import INTEGRATIONS, connection, form_widgets
from stoq_provider.jobs.calls import payload_of
from stoq_provider.jobs.config import mask_proxy, user_agent
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.jobs.send import send
from stoq_provider.systems.base import System
from stoq_provider.systems.payload import query_pairs
from stoq_provider.transport.probe import Probe
from stoq_provider.transport.settings import ConnectionSettings, read_settings

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from requests import Session
    from typing_extensions import Self

    from stoq_provider.download.verification import StoredFile
    from stoq_provider.jobs.metrics import AirflowMeter
    from stoq_provider.transport.session import ShopSession
    from stoq_provider.transport.sync import SyncTransport

T = TypeVar("T")

DETACHED = "A remote job that was submitted goes on; it can't be cancelled from here."


class JobHook(BaseHook):
    """
    Base of the hooks: one shop whose bulk work runs as jobs.

    :param conn_id: the Airflow connection; its type, default and parameter are named after the system.
    """

    system: ClassVar[System]
    conn_type: ClassVar[str] = ""
    conn_name_attr: ClassVar[str]
    default_conn_name: ClassVar[str]
    hook_name: ClassVar[str]

    patience = 0.0
    """Seconds for which reads are repeated while responses are bad; a task whose jobs have ended sets it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Name the class after its system; give it its own form, since Airflow 2 sees none inherited."""
        super().__init_subclass__(**kwargs)
        if "system" in cls.__dict__:
            name = cls.system.name
            names = {
                "conn_type": name,
                "hook_name": cls.system.label,
                "conn_name_attr": f"{name}_conn_id",
                "default_conn_name": f"{name}_default",
            }
            for attribute in names.keys() - cls.__dict__.keys():
                setattr(cls, attribute, names[attribute])
        for name in ("get_ui_field_behaviour", "get_connection_form_widgets"):
            if name not in cls.__dict__ and cls.conn_type in INTEGRATIONS:
                setattr(cls, name, classmethod(getattr(cls, name).__func__))

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id
        setattr(self, self.conn_name_attr, conn_id)
        self._stop = threading.Event()
        self._fate = DETACHED

    def __deepcopy__(self, memo: dict[int, Any]) -> JobHook:
        """Begin anew: connections and the wait that may be under way belong to one task."""
        return type(self)(self.conn_id)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's behaviour for Airflow before 3.2; later versions read the provider info."""
        behaviour = connection(cls.conn_type)["ui-field-behaviour"]
        return {key.replace("-", "_"): value for key, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow before 3.2; later versions read the provider info."""
        return form_widgets(connection(cls.conn_type)["conn-fields"])

    # -- connection ---------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> ConnectionSettings:
        """What the connection says, checked."""
        return self._read_settings(self.get_connection(self.conn_id))

    async def asettings(self) -> ConnectionSettings:
        """Read the connection without blocking the event loop (Airflow before 3.3.2 could deadlock)."""
        connection = await get_async_connection(self.conn_id)
        if hasattr(connection, "aextra_dejson"):
            extra = await connection.aextra_dejson()
        else:
            # Reading extra masks its secrets, which asks the supervisor and would block the loop.
            extra = await asyncio.to_thread(lambda: connection.extra_dejson)
        return await asyncio.to_thread(self._read_settings, connection, extra)

    def _read_settings(self, connection: Any, extra: Mapping[str, Any] | None = None) -> ConnectionSettings:
        with typed(self.system.name, f"{NOTHING_SENT}; the connection is {self.conn_id!r}"):
            if extra is None:
                extra = connection.extra_dejson
            settings = read_settings(connection, extra, self.system, user_agent())
        mask_proxy(settings.proxy)
        return settings

    @cached_property
    def _session(self) -> ShopSession:
        from stoq_provider.transport.session import ShopSession  # parsing a DAG needs no requests

        return ShopSession(self.settings, self.system)

    def get_conn(self) -> Session:
        """Return the ``requests`` session; it sends the key to the connection's own origin only."""
        return self._session

    @cached_property
    def transport(self) -> SyncTransport:
        """The driver that sends requests, counts points and waits out 429."""
        from stoq_provider.transport.sync import SyncTransport  # parsing a DAG needs no requests

        return SyncTransport(self._session, self.settings, self.system, sleep=self.sleep, meter=self.meter)

    @cached_property
    def meter(self) -> AirflowMeter:
        """What reports the shop's points to Airflow's metrics."""
        from stoq_provider.jobs.metrics import AirflowMeter  # parsing a DAG needs no statistics

        return AirflowMeter(self.system.name, self.conn_id)

    @property
    def points_spent(self) -> int:
        """Points spent so far over this hook."""
        return self.transport.points_spent if "transport" in self.__dict__ else 0

    def clone(self) -> Self:
        """Return a hook with connections of its own; the connection is not looked up again."""
        clone = type(self)(self.conn_id)
        clone.__dict__["settings"] = self.settings
        return clone

    def close(self) -> None:
        """Close the connections."""
        if "_session" in self.__dict__:
            self._session.close()

    probe: ClassVar[Probe | None] = None
    """What :meth:`test_connection` reads."""

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection out, for the Test button of the form.

        The words are for the person there: Airflow makes up the connection's id, and there is no task.
        """
        try:
            connection = self.get_connection(self.conn_id)
            settings = read_settings(connection, connection.extra_dejson, self.system, user_agent())
            mask_proxy(settings.proxy)
            self.settings, origin = replace(settings, conn_id=""), settings.origin
            ok, text = True, f"The settings are valid; nothing was sent to {origin}."
            if self.probe is not None:
                ok, text = self.probe.run(self.transport, self.system, origin)
        except Exception as error:
            ok, text = False, sentences(hide_queries(str(error)) or type(error).__name__)
        return ok, text[:1].upper() + text[1:]

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
        """Wait; raises :class:`~stoq_provider.exceptions.Detached` where the task was stopped."""
        if self._stop.wait(max(0.0, seconds)):
            raise Detached(
                f"The task was stopped while it waited for {self.system.label}. {self._fate}",
                system=self.system.name,
            )

    # -- requests -----------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None
    ) -> Any:
        """
        Call the API and return the decoded payload.

        A read is sent again after passing faults, a write only after 429 or where no connection came about.

        :param path: relative to the API's base path, such as ``/preorders/orders``.
        :param params: the query; lists become ``name[]``.
        :raises StoqProviderError: the typed error of what came back, with the server's words.
        """
        return payload_of(self, self._request(method, path, params, json))

    def _request(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None
    ) -> Request:
        with typed(self.system.name, NOTHING_SENT):
            url = self.system.url(self.settings.origin, path)
            request = Request(check_text(method, "method").upper(), url, query_pairs(params), json)
            check_json(json, request.target)
        return request

    # -- jobs ---------------------------------------------------------------------------------------

    def submit(
        self, submission: Submission, *, busy_patience: float = 0.0, correlation: str | None = None
    ) -> JobHandle:
        """Start a job; parameters and errors are those of :func:`stoq_provider.jobs.send.send`."""
        return send(self, submission, busy_patience=busy_patience, correlation=correlation)

    def submit_request(self, submission: Submission) -> Request:
        """
        Return the call that a submission makes; sends nothing.

        :raises ValidationRejected: where the body can't be sent as JSON.
        """
        with typed(self.system.name, f"{NOTHING_SENT}; a retry would fail alike"):
            request = self.system.submit_request(self.settings.origin, submission)
            check_json(request.json, submission.kind)
        return request

    def get_job(self, handle: JobHandle | Mapping[str, Any]) -> JobStatus:
        """
        Ask for the status of a job, once.

        :param handle: a handle, or its form in XCom.
        :raises StoqProviderError: the typed error of what came back.
        """
        return self._ask(handle, self.system.status_request, self.system.read_status)[1]

    def _ask(
        self,
        handle: JobHandle | Mapping[str, Any],
        make: Callable[[str, JobHandle], Request],
        read: Callable[[Any, JobHandle], T] = lambda payload, _: payload,
    ) -> tuple[JobHandle, T]:
        """Make a call about a job; return its handle, and what ``read`` makes of the payload."""
        with typed(self.system.name, "The remote job goes on; nothing was sent."):
            known = JobHandle.of(handle)
            request = make(self.settings.origin, known)
        fate = f"Job {known.job_id} goes on; a retry asks again."
        return known, payload_of(self, request, known.job_id, lambda payload: read(payload, known), fate)

    def file_url(self, status: JobStatus) -> str | None:
        """
        Return a fresh download URL for the file of a finished job; ``None`` where it has no file.

        It is a secret, and may expire within minutes: ask right before the download, keep it nowhere.

        :raises StoqProviderError: the typed error of what came back.
        """
        request = self.system.file_request(self.settings.origin, status)
        if request is None:
            return status.download_url
        fate = f"Job {status.job_id} is done; {DOWNLOADS_AGAIN}"
        return payload_of(self, request, status.job_id, self.system.read_file_url, fate)

    def download(
        self, handle: JobHandle | Mapping[str, Any], destination: str | ObjectStoragePath
    ) -> StoredFile:
        """
        Store the file of a finished job.

        :param destination: an ``ObjectStoragePath`` or its URL; ending with ``/``, the server's cleaned
            file name is appended.
        :return: uri, file name, bytes, rows and sha256 of what was stored.
        """
        from stoq_provider.jobs.files import store_result  # parsing a DAG needs no download

        with typed(self.system.name, "The remote job goes on; nothing was sent."):
            known = JobHandle.of(handle)
        return store_result(self, known, destination)

    @property
    def allows_private(self) -> bool:
        """Whether a file may lie at a private address; a vendor on the internet has no business there."""
        return self.settings.allow_http
