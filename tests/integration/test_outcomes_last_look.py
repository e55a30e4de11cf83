"""Outcome table: bad responses at the look before the download are borne as in the triggerer."""

from __future__ import annotations

import pytest

from stoq_provider.exceptions import ProtocolError

from .conftest import MODES, POLL, SENSOR_MODES, fails
from .test_outcomes_polling import PASSING

LOOKS = [*PASSING, pytest.param({"fault": "status", "status": 404}, id="404-of-a-job-seen-alive")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", LOOKS)
def test_5xx_reset_or_timeout_at_the_last_look_is_borne_as_in_the_triggerer(bench, sandbox, mode, fault):
    sandbox.jobs("export", duration=0)
    options = {name: value for name, value in fault.items() if name != "fault"}
    sandbox.arm(fault["fault"], path=POLL, skip=1, times=5, **options)
    assert len(bench.export(mode).execute()["files"]) == 1
    assert sandbox.state["faults"][0]["fired"] == 5
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_5xx_reset_or_timeout_at_the_last_look_of_a_sensor(bench, sandbox, mode):
    sandbox.jobs("export", duration=0)
    handles = bench.submitted()
    sandbox.arm("html", path=POLL, skip=1, times=9)
    assert len(bench.sensor(mode, handles).execute()["files"]) == 1


@pytest.mark.parametrize("mode", MODES)
def test_5xx_reset_or_timeout_at_the_last_look_for_too_long(bench, sandbox, clock, mode):
    sandbox.jobs("export", duration=0)
    sandbox.arm("html", path=POLL, skip=1, times=None)
    run = bench.export(mode, unhealthy_after=300)
    fails(run.execute, ProtocolError, "the body is not JSON", "a retry reads again")
    assert 300 <= clock.passed < 500
    sandbox.disarm()
    assert len(run.retry()["files"]) == 1
    assert bench.submissions == 1
