"""Shoppers who hang up or press stop in the middle of an answer: nothing is generated for them any longer."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

from tests.faults import rows
from tests.faults.oracle import Oracle
from tests.faults.process import Server
from tests.faults.report import Finding
from tests.faults.shoppers import Shopper
from tests.faults.traffic import CAPACITY, settled

GRACE_S = 0.5
PASSED_ON_S = 0.25
"""An answer that nobody wants stops within so long: P7."""
PASSES = 4
"""Passes of the event loop from the frame, or the end of the grace, to the end of the generator; each may stand still."""
AT_ONCE = 20
QUESTION = "How long does standard delivery take? [{}]"


async def hangup(seed: int, *, hangups: int, bug: str = "") -> Finding:
    """Hang up or stop so many answers at random moments; each fourth shopper stays and is answered."""
    rng, oracle = random.Random(seed), Oracle()
    late: list[float] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where = Path(folder) / "bot.db"
        # An answer takes 33 pieces, so that it lasts far longer than the grace.
        server = Server(Path(folder), bug=bug, grace_s=GRACE_S, fault_delay_s=0.08)
        try:
            await server.start()
            await server.faults()
            for _ in range(0, hangups, AT_ONCE):
                left = await asyncio.gather(*(_one(server.url, oracle, rng, n) for n in range(AT_ONCE)))
                await settled(where)
                told = await server.faults()
                if told["running"] or told["turns"]:
                    oracle.breaks(f"P7 {told['running']} generations and {told['turns']} turns go on for nobody")
                for mark, until in left:
                    late.append(told["last_piece"].get(mark, 0.0) - until - PASSES * told["stall_s"])
                    if until and late[-1] > 0:
                        oracle.breaks(f"P7 {mark}: a piece {late[-1]:.2f} s after the time allowed")
            rows.check(oracle, rows.read(where), capacity=CAPACITY)
        finally:
            await server.kill()
    generated = sum(piece > -1e9 for piece in late)
    return Finding("hang-ups", seed, oracle.broken, {"hang-ups and stops": len(late), "begun": generated})


async def _one(url: str, oracle: Oracle, rng: random.Random, n: int) -> tuple[str, float]:
    """(mark of the message, time after which nothing may be generated for it)."""
    shopper = Shopper(url, oracle, rng)
    client_id = await shopper.say(QUESTION)
    mark = shopper.known.sent[client_id].rpartition("[")[2].rstrip("]")
    if n % 4 == 0:
        if not await shopper.end_of(client_id, 60):
            oracle.breaks(f"P7 {mark}: who stayed was not answered")
        await shopper.leave()
        return mark, time.time() + 1e6
    await asyncio.sleep(1.5 * rng.random())
    if n % 4 == 1:
        await shopper.connect()
        await shopper.tabs[0].send("message.cancel", message_id=shopper.known.acked[client_id][0])
        until = time.time() + PASSED_ON_S
        await shopper.end_of(client_id, 10)
        await shopper.leave()
        return mark, until
    await shopper.leave()
    return mark, time.time() + GRACE_S + PASSED_ON_S
