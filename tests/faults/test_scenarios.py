"""The scenarios of `make faults`, at their smallest: a change that breaks the harness or a promise shows at once."""

import math
import shutil

import pytest

from tests.faults.bugs import BUGS
from tests.faults.catch import CAUGHT_BY
from tests.faults.disk import disk
from tests.faults.hangup import hangup
from tests.faults.kill import kill
from tests.faults.powercut import powercut
from tests.faults.races import races

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")


async def test_kill_9_loses_nothing():
    points = ("after_commit_before_ack", "at_delta", "in_hand_off", "after_completed_before_telling")
    found = await kill(1, kills=4, points=points)
    assert found.broken == []
    assert found.figures["at named points"] == 4


async def test_too_few_acks_are_no_proof(monkeypatch):
    monkeypatch.setattr("tests.faults.kill.LONG_PATIENCE_S", 0.1)
    found = await kill(1, kills=0, acks=1_000_000)
    assert [line.partition(" messages")[2] for line in found.broken] == [" of 1000000 were acknowledged"]


@needs_strace
@pytest.mark.parametrize("failing", [False, True])
async def test_a_power_cut_loses_nothing_also_after_failed_syncs(failing):
    found = await powercut(1, points=40, failing=failing)
    assert found.broken == []
    assert found.figures["points"] == 40


@needs_strace
async def test_a_disk_that_fails_acks_nothing_and_heals():
    found = await disk(1, times=1, faults=("EIO at each sync",), back_s=math.inf)
    if "skipped" in found.figures:
        pytest.skip(found.line())
    assert found.broken == []


async def test_who_hangs_up_stops_the_answer():
    assert (await hangup(1, hangups=20)).broken == []


async def test_human_agents_who_race_share_nothing():
    assert (await races(1, rounds=1)).broken == []


def test_every_seeded_bug_has_a_scenario():
    assert CAUGHT_BY.keys() == BUGS.keys()
