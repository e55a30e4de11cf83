"""
Links from a task to where its files go and to the shop's own pages.

What a link opens is pushed to XCom before anything is sent, so it is there while the task waits, and after it
has failed. Airflow 3 reads that XCom by itself; Airflow 2 asks :meth:`PageLink.get_link`.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat import sdk  # whole: its names are loaded when they are asked for

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

    from stoq_provider.hooks.base import JobHook

_log = logging.getLogger(__name__)


class PageLink(sdk.BaseOperatorLink):
    """Base of the links, each of which opens the page that its XCom holds."""

    @property
    def xcom_key(self) -> str:
        """The key as Airflow 3 names it, which Airflow 2 does not know."""
        return f"_link_{type(self).__name__}"

    @abstractmethod
    def page(self, hook: JobHook, destination: Any) -> str | None:
        """Return the page, without a secret in it; ``None``: there is none."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page that was pushed; empty: there is none."""
        if not getattr(operator, "do_xcom_push", True):
            return ""
        try:
            # Airflow 3 asks as well, when a try is over, and pushes what it gets under the same key.
            return sdk.XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""
        except Exception as error:
            _log.debug("The link %r could not be read: %s", self.name, error)
            return ""


class DestinationLink(PageLink):
    """The folder of the files in the console of its store; local files and stores of one's own have none."""

    name = "Destination"

    def page(self, hook: JobHook, destination: Any) -> str | None:
        """Return the folder's page in the store's console."""
        if destination is None:
            return None
        from stoq_provider.links.console import console_page  # parsing a DAG needs no download

        return console_page(destination)


class AdminLink(PageLink):
    """Base of the links to where people look after the shop: the connection's ``admin_url``, or the usual."""

    def page(self, hook: JobHook, destination: Any) -> str | None:
        """Return the page of the connection's shop."""
        return hook.settings.admin_url or hook.system.admin_page(hook.settings.origin)


class StoqAdminLink(AdminLink):
    """The STOQ app, or Shopify's admin around it."""

    name = "STOQ admin"


class MedusaAdminLink(AdminLink):
    """Medusa's admin."""

    name = "Medusa admin"


class SureCartLink(AdminLink):
    """SureCart's dashboard."""

    name = "SureCart"


class PrintStudioLink(AdminLink):
    """PrintStudio's dashboard."""

    name = "PrintStudio"


def push_links(context: Context, task: Any, hook: JobHook, destination: Any = None) -> None:
    """
    Push the pages of a task's links, empty where there is none; whatever goes wrong, the task goes on.

    Airflow shows no link for an empty one. For one that nobody pushed it logs an error at the task's end.

    :param destination: as the task knows it before anything is sent.
    """
    if not task.do_xcom_push:
        return
    for link in task.operator_extra_links:
        if not isinstance(link, PageLink):
            continue
        try:
            page = link.page(hook, destination)
        except Exception as error:
            _log.debug("There is no link %r: %s: %s", link.name, type(error).__name__, error)
            page = None
        with suppress(Exception):
            context["ti"].xcom_push(key=link.xcom_key, value=page or "")
