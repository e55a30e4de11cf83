"""
The audit after a storm: what DAG runs asked for, what the shop saw, and what lies on storage.

Findings are collected, so that one look at a failed storm shows all that is wrong.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.testing.content import chunks
from tests.cluster.airflow import Cluster
from tests.cluster.books import EXPORTS, LINKS, Asked
from tests.cluster.leaks import Leaks
from tests.cluster.rest import Run
from tests.cluster.storm import AMBIGUOUS, Storm
from tests.stores.stores import S3Store

ENDED = ("success", "failed")
KINDS = {"storm_tags": "bulk_orders_set_tags", "storm_links": "bulk_orders_send_payment_collection_url"}
UNCERTAIN, GONE = "SubmissionUncertain", "JobNotFound"
LOG_SHOWN = 3000


@dataclass
class Audit:
    """
    Compares the books of a storm.

    :ivar findings: what must not be.
    :ivar repeats: submissions beyond the first of each chunk or export.
    :ivar uncertain: payment links that stopped, because a person must look.
    :ivar gone: tasks that lost sight of their job, because the shop's clock moved past its record's life.
    :ivar left: multipart uploads that killed tasks left open.
    """

    cluster: Cluster
    storm: Storm
    store: S3Store
    findings: list[str] = field(default_factory=list)
    repeats: int = 0
    uncertain: int = 0
    gone: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        self.sandbox = self.cluster.sandbox
        self.state = self.sandbox.state
        self.faults = sum(self.storm.happened[name] for name in AMBIGUOUS)
        self.objects: set[str] = set()
        self.tries: Counter[str] = Counter()

    def run(self, leaks: Leaks) -> None:
        """Look at everything."""
        for asked in self.storm.asked:
            tasks = self._tasks(asked)
            self.tries[asked.name] = max(task["try_number"] for task in tasks)
            ends = [self._end(asked, task) for task in tasks]
            good = all(ends)
            if asked.dag_id in EXPORTS:
                self._exports(asked, tasks, good)
            else:
                self._actions(asked, good)
        if self.repeats > (kills := sum(self.tries.values()) - len(self.tries)) + self.faults:
            self._find(
                f"{self.repeats} repeats, but {kills} tries beyond the first, {self.faults} ambiguous faults"
            )
        self._links()
        self._storage()
        for (kwargs,) in self.cluster.database.rows("select kwargs from trigger"):
            self._find(f"a trigger was left: {kwargs[:200]}")
        self._secrets(leaks)

    # -- tasks --------------------------------------------------------------------------------------

    def _tasks(self, asked: Asked) -> list[dict[str, Any]]:
        return self.cluster.api.instances(Run(asked.dag_id, asked.run_id, ""))

    def _end(self, asked: Asked, task: dict[str, Any]) -> bool:
        """Note how a task ended; ``True``: well. A bad end needs a reason that the storm can have made."""
        if task["state"] == "success":
            return True
        run = Run(asked.dag_id, asked.run_id, task["task_id"])
        text = self.cluster.api.log(run, task["try_number"], task["map_index"])
        if asked.dag_id in LINKS and UNCERTAIN in text:
            self.uncertain += 1
        elif GONE in text and self.storm.clock_stepped_at is not None:
            self.gone += 1
        elif task["state"] != "upstream_failed":
            self._find(f"{asked.name} {task['task_id']} is {task['state']}: {text[-LOG_SHOWN:]}")
        return False

    # -- the shop -----------------------------------------------------------------------------------

    def _submissions(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.state["submissions"] if entry["kind"] == kind]

    def _count(self, what: str, asked: Asked, number: int, good: bool) -> None:
        """Check how often one thing was submitted: never more than there were tries that could not know."""
        once = asked.dag_id in LINKS
        most = 1 if once else self.tries[asked.name] + self.faults
        if number > most or (good and not number):
            self._find(f"{what} of {asked.name} was submitted {number} times (at most {most})")
        self.repeats += max(0, number - 1)

    def _actions(self, asked: Asked, good: bool) -> None:
        kind = KINDS[asked.dag_id.removesuffix("_on_worker")]
        sent = Counter(tuple(entry["ids"]) for entry in self._submissions(kind))
        for number, chunk in enumerate(asked.chunks):
            self._count(f"chunk {number + 1}", asked, sent[chunk], good)
        ids = set().union(*asked.chunks)
        for chunk in sent:
            if chunk not in asked.chunks and not ids.isdisjoint(chunk):
                self._find(f"nobody asked for the {len(chunk)} orders from {chunk[0]} on of {asked.name}")

    def _links(self) -> None:
        """Whom the shop has mailed how often; the order of submissions is no matter here."""
        asked = {order: one for one in self.storm.asked if one.dag_id in LINKS for order in one.orders}
        for order, number in self.state["payment_links"].items():
            if number != 1 or int(order) not in asked:
                self._find(f"order {order} got {number} payment links, asked for by {asked.get(int(order))}")

    # -- storage ------------------------------------------------------------------------------------

    def _exports(self, asked: Asked, tasks: list[dict[str, Any]], good: bool) -> None:
        for days in asked.days:
            sent = [entry for entry in self._submissions("export") if entry["body"] == days]
            self._count(f"export {days}", asked, len(sent), good)
        for task in tasks:
            if task["task_id"] != "submit" and task["state"] == "success":
                run = Run(asked.dag_id, asked.run_id, task["task_id"])
                self._files(asked, self.cluster.api.xcoms(run, task["map_index"])["return_value"])

    def _files(self, asked: Asked, manifest: dict[str, Any]) -> None:
        (job,), (file,) = manifest["jobs"], manifest["files"]
        content = self._content(job["job_id"])
        key = file["uri"].partition("@")[2].partition("/")[2]
        body = self.store.get(key)
        found = None if body is None else (len(body), hashlib.sha256(body).hexdigest())
        if not (found == content == (file["bytes"], file["sha256"])):
            self._find(f"{asked.name}: the shop has {content}, {key} has {found}, the manifest {file}")
        self.objects.add(key)

    def _content(self, job_id: str) -> tuple[int, str]:
        """Return size and hash of the file of a job, as the shop has it."""
        (content,) = [found for path, found in self.sandbox._world.files.items() if f"/{job_id}/" in path]
        digest = hashlib.sha256()
        for piece in chunks(content, 0, content.size):
            digest.update(piece)
        return content.size, digest.hexdigest()

    def _storage(self) -> None:
        if stray := set(self.store.visible()) - self.objects:
            self._find(f"nobody's objects: {sorted(stray)}")
        for upload in self.store.leftovers():
            self.left += 1
            if self.tries[upload.partition("/")[0]] < 2:
                self._find(f"an upload was left open by a task that ended in order: {upload}")

    # -- secrets ------------------------------------------------------------------------------------

    def _secrets(self, leaks: Leaks) -> None:
        texts = {f"table {name}": text for name, text in self.cluster.database.everything()}
        logs = [*self.cluster.home.glob("logs/**/*.log"), *self.cluster.home.glob("*.log")]
        texts |= {str(file): file.read_text(errors="replace") for file in logs}
        for where, text in texts.items():
            try:
                leaks.look(where, text)
            except AssertionError as error:
                self._find(str(error))

    def _find(self, what: str) -> None:
        self.findings.append(what)
