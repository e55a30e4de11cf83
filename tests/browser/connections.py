"""Airflow's page of connections, used as a person does."""

from __future__ import annotations

import json
from collections.abc import Mapping

from playwright.sync_api import Locator, Page, Route, expect


def drop_port_zero(route: Route) -> None:
    """
    Let the Test button send what it means.

    Of a connection without a port, Airflow 3.3.2 sends ``port: 0``, takes that for another place than the
    stored one, and refuses the test (apache/airflow#73298).
    """
    body = route.request.post_data_json
    route.continue_(
        post_data=json.dumps({field: value for field, value in body.items() if (field, value) != ("port", 0)})
    )


class Connections:
    """The list of connections, with its form."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.form = page.get_by_role("dialog")

    def begin(self, kind: str, conn_id: str, fields: Mapping[str, str]) -> None:
        """Open the form of a new connection, and fill in its standard fields by their labels."""
        self._page.goto("/connections")
        self._page.get_by_role("button", name="Add Connection").click()
        self.form.get_by_label("Connection ID").press_sequentially(conn_id)
        self.form.get_by_role("combobox", name="Connection Type").press_sequentially(kind)
        self._page.get_by_role("option", name=kind, exact=True).click()
        self.fill(fields)

    def fill(self, fields: Mapping[str, str]) -> None:
        """Type into fields."""
        for label, text in fields.items():
            field = self.form.get_by_label(label, exact=True)
            field.clear()
            field.press_sequentially(text)

    def open(self, section: str) -> None:
        """Open a section of the form, which closes the one before."""
        self.form.get_by_role("button", name=section, exact=True).click()

    def save(self) -> None:
        """Save the connection, and wait until the form has gone."""
        self.form.get_by_role("button", name="Save").click()
        expect(self.form).to_be_hidden()

    def test(self, conn_id: str) -> Locator:
        """Press the Test button of a connection; return what the page says to that."""
        cell = self._page.get_by_role("cell", name=conn_id, exact=True)
        row = self._page.get_by_role("row").filter(has=cell)
        row.get_by_role("button", name="Test Connection").click()
        return self._page.get_by_role("status").filter(has_text="Test Connection")
