"""Plain requests to a Medusa server: nothing of the package, so that both servers are judged from outside."""

from __future__ import annotations

import csv
import io
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from tests.medusa.servers import INTERVAL, PATIENCE, Server

JOBS = "/admin/batch-jobs"
Row = dict[str, str]


class Client:
    """Asks one server in one way of showing who asks; keeps no cookies."""

    def __init__(self, server: Server, headers: Mapping[str, str] | None = None) -> None:
        self.server = server
        self.headers = dict(headers or {})

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        url = path if path.startswith("http") else self.server.origin + path
        return requests.request(method, url, headers=headers, timeout=30, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return (
            self.ask("POST", path, json=body, **options)
            if body is not None
            else self.ask("POST", path, **options)
        )

    def bearer(self, email: str, password: str) -> dict[str, str]:
        """Log in; return the header that a JWT goes into."""
        answer = self.post("/admin/auth/token", {"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    # -- jobs

    def create(
        self, job_type: str = "product-export", context: Mapping[str, Any] | None = None, **body: Any
    ) -> dict[str, Any]:
        """Create a job; return it as the answer shows it."""
        answer = self.post(JOBS, {"type": job_type, "context": dict(context or {}), **body})
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
        return job_of(answer)

    def job(self, job_id: str) -> dict[str, Any]:
        return job_of(self.get(f"{JOBS}/{job_id}"))

    def until(self, job: Mapping[str, Any], *statuses: str) -> dict[str, Any]:
        """Poll until the job has one of the statuses; any end but those fails."""
        deadline = time.monotonic() + PATIENCE
        while (seen := self.job(job["id"]))["status"] not in statuses:
            assert seen["status"] not in {"completed", "failed"} - set(statuses), seen
            assert time.monotonic() < deadline, f"waited for {statuses}: {seen}"
            time.sleep(INTERVAL)
        return seen

    def run(self, job_type: str = "product-export", **context: Any) -> dict[str, Any]:
        """Create a job and wait until it is completed."""
        return self.until(self.create(job_type, context), "completed")

    def fails(self, job_type: str, **context: Any) -> dict[str, Any]:
        """Create a job and wait until it has failed."""
        return self.until(self.create(job_type, context), "failed")

    def confirm(self, job: Mapping[str, Any]) -> requests.Response:
        return self.post(f"{JOBS}/{job['id']}/confirm")

    def cancel(self, job: Mapping[str, Any]) -> requests.Response:
        return self.post(f"{JOBS}/{job['id']}/cancel")

    def listed(self, query: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.get(JOBS, params=query)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        listing: dict[str, Any] = answer.json()
        return listing

    def waiting(self, **body: Any) -> dict[str, Any]:
        """Make a dry run, and wait until it waits."""
        return self.until(self.create(**body, dry_run=True), "pre_processed")

    def outlived(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job once a later one went all its way: what could happen to it has happened by then."""
        self.run()
        return self.job(job["id"])

    # -- files

    def url_of(self, file_key: str) -> str:
        answer = self.post("/admin/uploads/download-url", {"file_key": file_key})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        url: str = answer.json()["download_url"]
        return url

    def file_of(self, job: Mapping[str, Any]) -> bytes:
        """The file of a completed export, fetched as anybody could."""
        answer = requests.get(self.url_of(job["result"]["file_key"]), timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.content

    def upload(self, content: bytes | str, name: str = "table.csv") -> str:
        """Upload a file; return its key."""
        answer = self.post("/admin/uploads/protected", files={"files": (name, content, "text/csv")})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        key: str = answer.json()["uploads"][0]["key"]
        return key

    def products(self, **filters: Any) -> list[Row]:
        """The rows of an export, one for each variant."""
        return rows_of(self.file_of(self.run(filterable_fields=filters)))


def job_of(answer: requests.Response) -> dict[str, Any]:
    assert answer.ok, f"{answer.status_code} {answer.text}"
    assert set(answer.json()) == {"batch_job"}
    job: dict[str, Any] = answer.json()["batch_job"]
    return job


def rows_of(file: bytes) -> list[Row]:
    return list(csv.DictReader(io.StringIO(file.decode("utf-8"), newline=""), delimiter=";"))


def table(rows: Sequence[Row]) -> str:
    """Write rows as the server reads them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_new(rows: Sequence[Row]) -> list[Row]:
    """Make rows of products that do not exist yet from rows of products that do; texts stay as they are."""
    mark = uuid.uuid4().hex[:8]
    new = []
    for row in rows:
        changed = {"Product Id": "", "Variant Id": "", "Variant Barcode": ""}
        changed["Product Handle"] = f"{row['Product Handle']}-{mark}"
        changed["Variant SKU"] = f"{row['Variant SKU']}-{mark}"
        # An import would look for a sales channel of that id, and the column holds its name.
        changed |= {name: "" for name in row if name.startswith("Sales Channel")}
        new.append({**row, **changed})
    return new
