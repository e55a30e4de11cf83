"""The page of a task whose job goes on, over a connection that was made in the form."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Picture
from tests.browser.connections import Connections
from tests.cluster.airflow import Cluster


def test_a_deferred_export_shows_its_links(page: Page, cluster: Cluster, picture: Picture) -> None:
    sandbox = cluster.sandbox
    connections = Connections(page)
    connections.begin("STOQ", "my_shop", {"Host": sandbox.origin, "API key": sandbox.key})
    connections.save()
    sandbox.jobs(times=None, duration=1e6)
    run = cluster.api.trigger("nightly_revenue")
    cluster.api.wait_task(run, "deferred")
    page.set_viewport_size({"width": 1200, "height": 420})
    page.goto(f"/dags/{run.dag_id}/runs/{run.run_id}/tasks/{run.task_id}/details")
    for name, address in {
        "Destination": "https://console.aws.amazon.com/s3/buckets/acme-warehouse?prefix=stoq/revenue/",
        "STOQ admin": "https://admin.shopify.com/",
    }.items():
        expect(page.get_by_role("link", name=name)).to_have_attribute("href", address)
    expect(page.get_by_text("stoq_provider.triggers.jobs.StoqJobTrigger")).to_be_visible()
    picture("deferred-task", page.locator("body"))
    (submission,) = sandbox.submissions
    sandbox.end_job(submission["job_id"])
    cluster.api.wait(run)
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
