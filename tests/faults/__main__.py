"""The harness's command line: `python -m tests.faults [SCENARIO …]`; README.md says what each one does."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.away import FAULTS, away
from tests.faults.bugs import BUGS
from tests.faults.catch import catch
from tests.faults.databases import fresh_database
from tests.faults.deaf import deaf
from tests.faults.disk import disk
from tests.faults.drain import drain
from tests.faults.hangup import hangup
from tests.faults.kill import kill, kill_in_rounds
from tests.faults.machine import explore
from tests.faults.powercut import powercut
from tests.faults.races import races
from tests.faults.report import Finding
from tests.faults.takeover import takeover


async def _kill(seed: int, deep: bool) -> Finding:
    return await (kill_in_rounds(seed, rounds=10, kills=50, acks=50_000) if deep else kill(seed, kills=50))


async def _kill_postgres(seed: int, deep: bool) -> Finding:
    with fresh_database() as database:
        return await kill(seed, kills=100 if deep else 10, database=database)


async def _races_postgres(seed: int, deep: bool) -> Finding:
    with fresh_database() as database:
        return await races(seed, rounds=20 if deep else 1, database=database)


async def _model(seed: int, deep: bool) -> Finding:
    broken, examples = [], 500 if deep else 30

    def try_both() -> None:
        with tempfile.TemporaryDirectory() as folder, fresh_database() as database:
            for url in (f"sqlite:///{folder}/bot.db", database):
                try:
                    explore(url, examples=examples, seed=seed)
                except AssertionError as error:
                    broken.append(f"{url.partition(':')[0]}: {error}")

    await asyncio.to_thread(try_both)
    return Finding("both stores against the model", seed, broken, {"ways of 30 steps, each": examples})


NAMED = ("postgres killed", "redis killed", "redis flushed", "redis paused")
NETWORK = tuple(name for name in FAULTS if name not in NAMED)
SCENARIOS = {
    "bugs": lambda seed, deep: catch(seed),
    "kill": _kill,
    "away": lambda seed, deep: away(seed, times=100 if deep else 10, faults=NAMED),
    "network": lambda seed, deep: away(seed, times=20 if deep else 2, faults=NETWORK),
    "kill-postgres": _kill_postgres,
    "powercut": lambda seed, deep: powercut(seed, points=5000 if deep else 500),
    "powercut-eio": lambda seed, deep: powercut(seed, points=2000 if deep else 200, failing=True),
    "disk": lambda seed, deep: disk(seed, times=25 if deep else 2),
    "hangup": lambda seed, deep: hangup(seed, hangups=1000 if deep else 100),
    "takeover": lambda seed, deep: takeover(seed, rounds=500 if deep else 50),
    "races": lambda seed, deep: races(seed, rounds=50 if deep else 2),
    "races-postgres": _races_postgres,
    "deaf": lambda seed, deep: deaf(seed, readers=100 if deep else 10),
    "drain": lambda seed, deep: drain(seed, times=50 if deep else 5),
    "model": _model,
}
"""The longest ones first."""


def main() -> int:
    """Run scenarios; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults, injected and survived.")
    parser.add_argument("scenario", nargs="*", help=f"{', '.join(SCENARIOS)}; none: all of them")
    parser.add_argument("--deep", action="store_true", help="the long run")
    parser.add_argument("--bug", action="append", choices=BUGS, help="of the scenario `bugs`: only this one")
    parser.add_argument("--seed", type=int, help="as a run before printed it (new)")
    parser.add_argument("--jobs", type=int, default=3, help="scenarios at a time, each in a process of its own (3)")
    parser.add_argument("--report", type=Path, help="write the report to this file too")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    if unknown := set(args.scenario) - SCENARIOS.keys():
        parser.error(f"unknown scenario: {', '.join(unknown)}")
    if args.bug:
        SCENARIOS["bugs"] = lambda seed, deep: catch(seed, args.bug)
    seed = args.seed if args.seed is not None else random.randrange(1_000_000)
    names = args.scenario or list(SCENARIOS)
    if len(names) == 1:
        began = time.monotonic()
        found = asyncio.run(SCENARIOS[names[0]](seed, args.deep))
        report = [f"{found.line()} in {time.monotonic() - began:.0f} s", *(f"  {line}" for line in found.broken[:20])]
        print("\n".join(report), flush=True)
        failed = bool(found.broken)
    else:
        report, failed = asyncio.run(_side_by_side(names, seed, args.deep, args.jobs))
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text("\n".join(report) + "\n", encoding="utf-8")
    return int(failed)


async def _side_by_side(names: list[str], seed: int, deep: bool, jobs: int) -> tuple[list[str], bool]:
    """Run scenarios in processes of their own, since they mostly wait; (report, whether one failed)."""
    gate, report, failed = asyncio.Semaphore(jobs), list[str](), False

    async def one(name: str) -> None:
        nonlocal failed
        async with gate:
            command = [sys.executable, "-m", "tests.faults", name, "--seed", str(seed), *["--deep"] * deep]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            try:
                said, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.terminate()
            print(said.decode().rstrip() or f"{name}: ended with {process.returncode}", flush=True)
            report.extend(said.decode().splitlines())
            failed |= process.returncode != 0

    await asyncio.gather(*(one(name) for name in names))
    return report, failed


if __name__ == "__main__":
    sys.exit(main())
