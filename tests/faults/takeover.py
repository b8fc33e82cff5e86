"""A person is asked for in the middle of an answer: once the conversation is queued, the bot says nothing more."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path

from tests.faults.agents import Agent
from tests.faults.oracle import Oracle
from tests.faults.process import Server
from tests.faults.report import Finding
from tests.faults.shoppers import Shopper
from tests.faults.traffic import compare


async def takeover(seed: int, *, rounds: int, database: str = "", bug: str = "") -> Finding:
    """Ask for a person at a random moment of a running answer, with a human agent who claims at once."""
    rng, oracle = random.Random(seed), Oracle()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where = database or Path(folder) / "bot.db"
        server = Server(Path(folder), database_url=database, bug=bug, fault_delay_s=0.01)
        try:
            await server.start()
            done = False
            agents = [asyncio.create_task(Agent(server.url, "anna", oracle, rng).work(lambda: done))]
            await asyncio.gather(*(_one(server.url, oracle, random.Random(rng.random())) for _ in range(rounds)))
            done = True
            await asyncio.gather(*agents)
            await compare(server.url, where, oracle)
        finally:
            await server.kill()
    return Finding("takeovers", seed, oracle.broken, {"takeovers": rounds, "claims": len(oracle.claims)})


async def _one(url: str, oracle: Oracle, rng: random.Random) -> None:
    shopper = Shopper(url, oracle, rng)
    await shopper.say("How long does standard delivery take? [{}]")
    await asyncio.sleep(0.5 * rng.random())
    await shopper.ask_for_person()
    client_id = await shopper.say("And express delivery? [{}]")
    await shopper.end_of(client_id, 5)
    await shopper.leave()
