"""
Replays what a real Medusa 1.20.11 was asked, against the sandbox.

The recordings are one story: jobs are made, polled, confirmed, cancelled and listed in the order of their
numbers. So the story is told once, and each test then looks at one answer of it. What a server makes up
(ids, times, keys of files) is learned on the way: where the recording has one name, the sandbox has another.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from stoq_provider.testing import Sandbox

RECORDINGS = Path(__file__).parents[1] / "recordings" / "medusa"
HEADER_LINE = (RECORDINGS / "import.csv").read_text().splitlines()[0]
_JOB = re.compile(r"batch_[0-9A-Z]{26}")
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z"), "<time>"),
    (re.compile(r"(batch|usr|prod|variant)_[0-9A-Z]{26}"), r"<\1>"),
    (re.compile(r"\b\d{13}\b"), "<ms>"),
    (re.compile(r"<product \d+>"), "<prod>"),
    (re.compile(r"http://127\.0\.0\.1:\d+(?!/uploads/none)"), "<origin>"),
    (re.compile(r"<api token>|medusa-sandbox-token"), "<token>"),
    (re.compile(r"<email>|admin@sandbox\.test"), "<address>"),
    (re.compile(r"<jwt>|eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<bearer>"),
)
POLL_SECONDS = 0.25
LONGEST_POLL = 60
PATIENCE = 60
"""Real seconds after which a request hangs."""


def masked(value: Any) -> Any:
    """What is left to compare: all but ids, times and the sandbox's own names."""
    if isinstance(value, dict):
        # A database gives prices and relations in no order of its own.
        return {name: masked(_sorted(name, inner)) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    if isinstance(value, str):
        for pattern, replacement in _MASKS:
            value = pattern.sub(replacement, value)
    return value


def _sorted(name: str, value: Any) -> Any:
    return sorted(value, key=json.dumps) if name in {"prices", "relations"} else value


def recordings() -> list[dict[str, Any]]:
    """All of them, in the order in which they were made."""
    found = [entry for path in RECORDINGS.glob("*.json") for entry in json.loads(path.read_text())]
    return sorted(found, key=lambda entry: _order(entry["name"]))


def _order(name: str) -> tuple[Any, ...]:
    number = re.match(r"(\d+)([a-z]?)", name)
    assert number is not None
    return int(number[1]), number[2], "create" not in name, name


@dataclass
class Answer:
    """What the sandbox said, and where the recorded request had gone."""

    status: int
    headers: Any
    body: Any
    text: str


@dataclass
class Story:
    """The sandbox side of the recordings."""

    sandbox: Sandbox
    names: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    polled: dict[str, list[Any]] = field(default_factory=dict)
    cookie: str = ""
    csv: bytes = b""

    def tell(self) -> None:
        """Do all that was recorded."""
        self._learn_products()
        for entry in recordings():
            self._prepare(entry)
            if "polled" in entry:
                self.polled[entry["name"]] = self._poll(entry)
            else:
                self._request(entry)

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request by somebody with the API token, unless told otherwise."""
        options.setdefault("headers", {"x-medusa-access-token": self.sandbox.medusa_token})
        return requests.request(method, self.sandbox.medusa_origin + path, timeout=PATIENCE, **options)

    def _learn_products(self) -> None:
        catalogue = self.sandbox._world.sites["medusa"].catalogue
        self.names |= {f"<product {n}>": found.id for n, found in enumerate(catalogue.products, start=1)}
        self.names |= {
            "<api token>": self.sandbox.medusa_token,
            "<email>": self.sandbox.medusa_email,
            "<password>": self.sandbox.medusa_password,
            "<other jwt>": self._token(self.sandbox.medusa_other_email),
        }

    def _token(self, email: str) -> str:
        body = {"email": email, "password": self.sandbox.medusa_password}
        return str(self.call("POST", "/admin/auth/token", json=body).json()["access_token"])

    def _prepare(self, entry: dict[str, Any]) -> None:
        self.sandbox.advance(entry.get("wait", 0))
        for job_id in _JOB.findall(entry["request"]["path"]):
            if job_id not in self.names and "polled" in entry:
                self._create_unrecorded(entry["polled"][0]["batch_job"])
        body = entry["request"].get("body")
        context = body.get("context") if isinstance(body, dict) else None
        if isinstance(context, dict) and "fileKey" in context:
            self.names[context["fileKey"]] = self._upload(context["fileKey"])

    def _create_unrecorded(self, seen: dict[str, Any]) -> None:
        context = {
            name: value for name, value in seen["context"].items() if name not in {"list_config", "shape"}
        }
        body = {"type": seen["type"], "dry_run": seen["dry_run"], "context": context}
        made = self.call("POST", "/admin/batch-jobs", json=self._ours(body)).json()
        self._learn({"batch_job": {"id": seen["id"]}}, made)

    def _upload(self, key: str) -> str:
        """The file that was imported under this key."""
        rows = (RECORDINGS / "import.csv").read_text()
        others = rows.replace("n255351", "n255353").replace("N255351", "N255353")
        contents = {
            "new.csv": rows,
            "dup.csv": others.replace("LAB-01-BLACK-N255353", "LAB-02-BLACK"),
            "bad.csv": "foo;bar\n1;2\n",
            "empty.csv": "",
            "hdr.csv": HEADER_LINE + "\n",
        }
        name = key.partition("-")[2]
        form = {"files": (name, contents[name], "text/csv")}
        return str(self.call("POST", "/admin/uploads/protected", files=form).json()["uploads"][0]["key"])

    def _ours(self, value: Any) -> Any:
        """The recorded names replaced by the sandbox's."""
        text = json.dumps(value)
        for recorded, ours in self.names.items():
            text = text.replace(recorded, ours)
        return json.loads(text)

    def _learn(self, recorded: Any, ours: Any) -> None:
        """Remember ids, keys and tokens by their recorded names."""
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for name, value in recorded.items():
                known = name in {"id", "key", "file_key", "access_token"} and isinstance(value, str)
                if known and isinstance(ours.get(name), str):
                    self.names.setdefault(value, ours[name])
                self._learn(value, ours.get(name))
        elif isinstance(recorded, list) and isinstance(ours, list):
            for one, other in zip(recorded, ours, strict=False):
                self._learn(one, other)

    def _request(self, entry: dict[str, Any]) -> None:
        asked = self._ours(entry["request"])
        headers = self._headers(asked)
        options: dict[str, Any] = {"headers": headers, "allow_redirects": False}
        if "field" in asked:
            options["files"] = {asked["field"]: ("upload.csv", "a;b\n", "text/csv")}
        elif "body" in asked:
            headers["Content-Type"] = "application/json"
            options["data"] = self._body(asked["body"])
        answer = self.call(asked["method"], asked["path"], **options)
        try:
            body = answer.json()
        except ValueError:
            body = None
        self.answers[entry["name"]] = Answer(answer.status_code, answer.headers, body, answer.text)
        if entry["name"].startswith("05"):
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        if entry["name"].startswith("23"):
            self.csv = answer.content
        if "json" in entry["response"]:
            self._learn(entry["response"]["json"], body)

    def _headers(self, asked: dict[str, Any]) -> dict[str, str]:
        headers = dict(asked.get("headers", {}))
        if headers.get("Cookie"):
            headers["Cookie"] = self.cookie
        if headers.get("If-None-Match"):
            headers["If-None-Match"] = self.call("GET", asked["path"]).headers["ETag"]
        return headers

    def _body(self, body: Any) -> str:
        if body == "<170 kB>":
            ids = [f"prod_{n:026d}" for n in range(5000)]
            return json.dumps({"type": "product-export", "context": {"filterable_fields": {"id": ids}}})
        return body if isinstance(body, str) else json.dumps(body)

    def _poll(self, entry: dict[str, Any]) -> list[Any]:
        """Distinct answers, until one is as the recorded last one, or for a minute of job time."""
        path = self._ours(entry["request"]["path"])
        wanted = masked(entry["polled"][-1])
        seen: list[Any] = []
        for _ in range(int(LONGEST_POLL / POLL_SECONDS)):
            answer = self.call("GET", path).json()
            if not seen or masked(answer) != masked(seen[-1]):
                seen.append(answer)
            if masked(answer) == wanted and len(seen) >= len(entry["polled"]):
                break
            self.sandbox.advance(POLL_SECONDS)
        self._learn(entry["polled"][-1], seen[-1])
        return seen
