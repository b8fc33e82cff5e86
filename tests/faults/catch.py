"""The harness tested: each seeded bug is caught by the scenario meant for it.

That these scenarios find nothing without the bug is what all the others of `make faults` show.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable

from tests.faults.away import away
from tests.faults.bugs import BUGS
from tests.faults.deaf import deaf
from tests.faults.drain import drain
from tests.faults.hangup import hangup
from tests.faults.kill import kill
from tests.faults.powercut import powercut
from tests.faults.races import races
from tests.faults.report import Finding
from tests.faults.takeover import takeover

Scenario = Callable[[int, str], Awaitable[Finding]]

SCENARIOS: dict[str, Scenario] = {
    "traffic": lambda seed, bug: kill(seed, kills=2, bug=bug, enough=1),
    "kill after an ack": lambda seed, bug: kill(seed, kills=4, bug=bug, points=("after_ack",), enough=1),
    "kill in a handoff": lambda seed, bug: kill(seed, kills=12, bug=bug, points=("in_hand_off",), enough=1),
    "power cut": lambda seed, bug: powercut(seed, points=40, bug=bug),
    "power cut after failed syncs": lambda seed, bug: powercut(seed, points=40, failing=True, bug=bug),
    "desk": lambda seed, bug: races(seed, rounds=1, bug=bug),
    "takeover": lambda seed, bug: takeover(seed, rounds=20, bug=bug),
    "deaf readers": lambda seed, bug: deaf(seed, readers=2, bug=bug),
    "drain": lambda seed, bug: drain(seed, times=2, bug=bug),
    "redis away": lambda seed, bug: away(seed, times=3, faults=("redis killed", "redis reset"), bug=bug),
    "hang-up": lambda seed, bug: hangup(seed, hangups=20, bug=bug),
}
CAUGHT_BY = {
    "ack_before_commit": "kill after an ack",
    "synchronous_normal": "power cut",
    "synchronous_off": "power cut",
    "failed_commit_counts": "power cut after failed syncs",
    "no_unique_index": "traffic",
    "resume_off_by_one": "traffic",
    "cancel_not_passed_on": "hang-up",
    "cancel_without_a_word": "hang-up",
    "handoff_in_its_own_transaction": "kill in a handoff",
    "claim_without_condition": "desk",
    "no_fencing": "takeover",
    "append_without_owner": "desk",
    "capacity_outside_the_transaction": "desk",
    "unbounded_queue": "deaf readers",
    "drain_that_drops": "drain",
    "redis_as_truth": "redis away",
}


async def catch(seed: int, names: list[str] | None = None) -> Finding:
    """Run each bug's scenario with the bug: what it finds must be of a promise that the bug breaks."""
    assert CAUGHT_BY.keys() == BUGS.keys()
    names = names or list(BUGS)
    broken: list[str] = []
    for bug in names:
        found = await SCENARIOS[CAUGHT_BY[bug]](seed, bug)
        said = inspect.getdoc(BUGS[bug]) or ""
        promises = re.findall(r"P\d+", said.partition(":")[0])
        proof = next((line for line in found.broken if line.split()[0] in promises), None)
        print(f"  {bug}: {f'caught: {proof}' if proof else f'MISSED, though {said}'}", flush=True)
        if proof is None:
            broken.append(f"{bug} was not caught by {CAUGHT_BY[bug]}, which found {found.broken[:1] or 'nothing'}")
    figures = {"caught": f"{len(names) - len(broken)} of {len(names)}"}
    return Finding("seeded bugs", seed, broken, figures)
