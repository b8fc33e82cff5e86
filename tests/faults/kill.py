"""kill -9 under load: at random times and at every named point; nothing acknowledged is lost, nothing doubled."""

from __future__ import annotations

import itertools
import math
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults import rows
from tests.faults.oracle import Oracle
from tests.faults.points import POINTS
from tests.faults.process import Server
from tests.faults.report import Finding
from tests.faults.traffic import Traffic, compare

PATIENCE_S = 5.0
"""How long a point is waited for; then the kill comes from outside."""
LONG_PATIENCE_S = 60.0
"""The same, and how long acks are waited for, where many are wanted."""


async def kill_in_rounds(seed: int, *, rounds: int, kills: int, acks: int) -> Finding:
    """So many rounds of so many kills and acks, each on a database of its own: every kill has all of it read."""
    broken, figures = list[str](), Counter[str]()
    for n in range(rounds):
        began = time.monotonic()
        found = await kill(seed + n, kills=kills, acks=acks)
        print(f"round {n + 1} of {rounds}: {found.line()} in {time.monotonic() - began:.0f} s", file=sys.stderr)
        broken += found.broken
        figures.update(found.figures)
    return Finding("kill -9", seed, broken, {"rounds": rounds, **figures})


async def kill(
    seed: int, *, kills: int, acks: int = 0, database: str = "", bug: str = "", points: tuple[str, ...] = (),
    enough: int = 20,
) -> Finding:  # fmt: skip
    """Kill and start again, then compare the three views.

    Args:
        acks: messages to be acknowledged in all, over which the kills are spread; 0: as many as come.
        database: a PostgreSQL address; empty: SQLite.
        points: where to die; empty: at random times and at every named point, by turns.
        enough: faults found, from which no more are looked for.
    """
    rng, oracle = random.Random(seed), Oracle()
    reached = dict.fromkeys(points or POINTS, 0)
    turns = itertools.cycle(reached)
    passes = (1, 2, 5, 30, 100, 300) if acks else (1, 2, 5)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where = database or Path(folder) / "bot.db"
        server = Server(Path(folder), database_url=database, bug=bug)
        try:
            await server.start()
            crowd = {"shoppers": 60, "agents": 4, "plain": 0.9} if acks else {}
            async with Traffic([server.url], oracle, rng, **crowd) as traffic:
                for n in range(kills):
                    point = "" if n % 3 == 0 and not points else next(turns)
                    await server.kill()
                    rows.check_acks(oracle, rows.read(where, dead=True))
                    if len(oracle.broken) >= enough:
                        break
                    first = point and not reached[point]  # is waited for, however many acks it takes
                    await server.start(f"{point}:{1 if first else rng.choice(passes)}" if point else "")
                    limit_s = LONG_PATIENCE_S if acks else PATIENCE_S if point else rng.uniform(0, 1.5)
                    share = rng.uniform(0, 2 * (acks - oracle.acks) / (kills - n)) if acks and not first else math.inf
                    died = await _dies(server, oracle, limit_s, oracle.acks + share)
                    if point:
                        reached[point] += died
                await server.kill()
                rows.check_acks(oracle, rows.read(where, dead=True))
                if len(oracle.broken) < enough:
                    await server.start()
                    await _dies(server, oracle, LONG_PATIENCE_S, acks)
                    await traffic.finish()
                    await compare(server.url, where, oracle)
        finally:
            await server.kill()
        missed = (
            [point for point, times in reached.items() if not times]
            if kills >= 2 * len(reached) and len(oracle.broken) < enough
            else []
        )
        oracle.broken += [f"the point {point} was never reached" for point in missed]
        if oracle.acks < acks and len(oracle.broken) < enough:
            oracle.breaks(f"only {oracle.acks} messages of {acks} were acknowledged")
        figures = {"kills": kills, "at named points": sum(reached.values()), "acked": oracle.acks,
                   "conversations": len(oracle.conversations)}  # fmt: skip
        return Finding("kill -9", seed, oracle.broken, figures)


async def _dies(server: Server, oracle: Oracle, timeout_s: float, acks: float) -> bool:
    """Whether it dies by itself before so many messages are acknowledged in all, and in time."""
    return await server.dead(timeout_s, unless=lambda: oracle.acks >= acks)
