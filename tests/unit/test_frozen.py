"""What each release left in databases and stores is read by the classes of today."""

from __future__ import annotations

import json
from pkgutil import resolve_name

import pytest
from airflow.serialization.serialized_objects import BaseSerialization

from stoq_provider import __version__
from stoq_provider.core.events import WaitState
from stoq_provider.core.models import JobHandle
from stoq_provider.core.validation import some
from tests import frozen

VERSIONS = sorted(path.parent.name for path in frozen.FOLDER.glob(f"*/{frozen.NAME}"))
CLASSES = {type(form).__name__: type(form) for form in frozen.forms().values()}
every_release = pytest.mark.parametrize("version", VERSIONS)


def load(version):
    return json.loads((frozen.FOLDER / version / frozen.NAME).read_text())


def within(old, new):
    """Whether all that is in one JSON value is in another, which may have more keys."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(name in new and within(old[name], new[name]) for name in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(within, old, new))
    return old == new


@every_release
def test_forms_of_a_release_are_read_whole(version):
    for name, form in load(version)["forms"].items():
        read = CLASSES[name.split()[0]].from_dict(form)
        assert within(form, read.to_dict()), name


@every_release
def test_trigger_rows_of_a_release_wait_for_the_same_jobs(version):
    for name, row in load(version)["triggers"].items():
        kwargs = BaseSerialization.deserialize(row["kwargs"])
        trigger = resolve_name(row["classpath"].replace(".jobs.", ".jobs:"))(**kwargs)
        path, again = trigger.serialize()
        assert (path, within(kwargs, again)) == (row["classpath"], True), name
        if trigger.start is None:
            system = trigger.load_hook_class().system.name
            handles = [JobHandle.from_dict(job) for job in trigger.jobs]
            assert [progress.handle for progress in trigger._progress(system, frozen.AT)] == handles
            assert WaitState.from_dict(trigger.state).kind == handles[0].kind
        else:
            system = trigger.load_hook_class().system
            assert [handle.to_dict() for handle in system.read_handles(trigger.job)] == trigger.job


@every_release
def test_manifests_of_a_release_have_the_keys_of_today(version):
    for name, manifest in load(version)["manifests"].items():
        assert within(manifest, frozen.payloads()["manifests"][name]), name


def test_the_format_is_that_of_the_frozen_file_of_this_version():
    """A change of the format is a decision of a person."""
    assert __version__ in VERSIONS, f"Nothing is frozen of {__version__}: make freeze."
    then, now = load(__version__), json.loads(json.dumps(frozen.payloads()))
    for row in (*then["triggers"].values(), *now["triggers"].values()):  # each Airflow encodes as it does
        row["kwargs"] = BaseSerialization.deserialize(row["kwargs"])
    changed = [
        f"{kind}: {name}"
        for kind in now
        for name in {**then[kind], **now[kind]}
        if then[kind].get(name) != now[kind].get(name)
    ]
    assert not changed, (
        f"The format changed of {some(changed)}. Keys that are new and have a default are fine; else "
        f"raise its VERSION and go on reading the old one. If {__version__} is not released yet: make freeze "
        "ARGS=--again. If it is, leave its file alone: raise __version__, then make freeze."
    )
