"""kill -9 under load: at random times and at every named point; nothing acknowledged is lost, nothing doubled."""

from __future__ import annotations

import itertools
import random
import tempfile
from pathlib import Path

from tests.faults import rows
from tests.faults.oracle import Oracle
from tests.faults.points import POINTS
from tests.faults.process import Server
from tests.faults.report import Finding
from tests.faults.traffic import Traffic, compare

PATIENCE_S = 5.0
"""How long a point is waited for; then the kill comes from outside."""


async def kill(
    seed: int, *, kills: int, database: str = "", bug: str = "", points: tuple[str, ...] = (), enough: int = 20
) -> Finding:
    """Kill and start again, then compare the three views.

    Args:
        database: a PostgreSQL address; empty: SQLite.
        points: where to die; empty: at random times and at every named point, by turns.
        enough: faults found, from which no more are looked for.
    """
    rng, oracle = random.Random(seed), Oracle()
    reached = dict.fromkeys(points or POINTS, 0)
    turns = itertools.cycle(reached)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where = database or Path(folder) / "bot.db"
        server = Server(Path(folder), database_url=database, bug=bug)
        try:
            await server.start()
            async with Traffic([server.url], oracle, rng) as traffic:
                for n in range(kills):
                    point = "" if n % 3 == 0 and not points else next(turns)
                    await server.kill()
                    rows.check_acks(oracle, rows.read(where, dead=True))
                    if len(oracle.broken) >= enough:
                        break
                    await server.start(f"{point}:{rng.choice((1, 2, 5)) if reached[point] else 1}" if point else "")
                    if point and await server.dead(PATIENCE_S):
                        reached[point] += 1
                    elif not point:
                        await server.dead(rng.uniform(0, 1.5))
                await server.kill()
                rows.check_acks(oracle, rows.read(where, dead=True))
                if len(oracle.broken) < enough:
                    await server.start()
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
        figures = {"kills": kills, "at named points": sum(reached.values()), "acked": oracle.acks,
                   "conversations": len(oracle.conversations)}  # fmt: skip
        return Finding("kill -9", seed, oracle.broken, figures)
