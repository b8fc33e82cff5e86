"""SIGTERM under load: what is being answered comes to its end, the process ends with status 0, and nothing is lost."""

from __future__ import annotations

import random
import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.faults.oracle import Oracle
from tests.faults.process import Server
from tests.faults.report import Finding
from tests.faults.traffic import Traffic, compare

GONE_S = 30.0
AT_ONCE_S = 5.0
BEGUN = "SELECT count(*) FROM messages WHERE outcome IS NULL AND holder IS NOT NULL"


async def drain(seed: int, *, times: int, bug: str = "") -> Finding:
    """Drain and start again so many times; in the last round a second SIGTERM ends the process at once."""
    rng, oracle, longest = random.Random(seed), Oracle(), 0.0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where = Path(folder) / "bot.db"
        server = Server(Path(folder), bug=bug, fault_delay_s=0.05)
        try:
            async with Traffic([server.url], oracle, rng, shoppers=12, agents=1) as traffic:
                for _ in range(times):
                    await server.start()
                    await server.dead(0.5 + rng.random())
                    began = time.monotonic()
                    await server.signal(signal.SIGTERM)
                    if not await server.dead(GONE_S):
                        oracle.breaks(f"P16 it still runs {GONE_S:g} s after SIGTERM")
                        await server.kill()
                    longest = max(longest, time.monotonic() - began)
                    if server.status != 0:
                        oracle.breaks(f"P16 it ended with status {server.status}")
                    with closing(sqlite3.connect(where)) as database:
                        if (dropped := database.execute(BEGUN).fetchone()[0]) > 0:
                            oracle.breaks(f"P16 {dropped} answers were begun, and dropped")
                await server.start()
                await server.signal(signal.SIGTERM)
                await server.signal(signal.SIGTERM)
                if not await server.dead(AT_ONCE_S):
                    oracle.breaks("P16 a second SIGTERM does not end it at once")
                    await server.kill()
                await server.start()
                await traffic.finish()
                await compare(server.url, where, oracle)
        finally:
            await server.kill()
    figures = {"drained": times, "longest": f"{longest:.1f} s", "acked": oracle.acks}
    return Finding("drains", seed, oracle.broken, figures)
