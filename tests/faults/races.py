"""Human agents who race: for the same conversations, for more than they may hold, and with messages that come too late."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults import rows
from tests.faults.agents import Agent
from tests.faults.oracle import Oracle
from tests.faults.process import AGENTS, Server
from tests.faults.report import Finding
from tests.faults.shoppers import Shopper
from tests.faults.traffic import CAPACITY, compare

CONVERSATIONS = 10


async def races(seed: int, *, rounds: int, database: str = "", bug: str = "", replicas: int = 1) -> Finding:
    """In each round everyone claims everything at once; winners speak and give back at the same time."""
    rng, oracle = random.Random(seed), Oracle()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where = database or Path(folder) / "bot.db"
        servers = [Server(Path(folder), database_url=database, bug=bug, lease_s=60) for _ in range(replicas)]
        try:
            for server in servers:
                await server.start()
            agents = [Agent(servers[n % replicas].url, name, oracle, rng) for n, name in enumerate(AGENTS)]
            for _ in range(rounds):
                await _round(servers[0].url, oracle, agents, where, rng)
            await compare(servers[0].url, where, oracle)
        finally:
            for server in servers:
                await server.kill()
    return Finding("races at the desk", seed, oracle.broken, {"rounds": rounds, "claims": len(oracle.claims)})


async def _round(url: str, oracle: Oracle, agents: list[Agent], where: Path | str, rng: random.Random) -> None:
    shoppers = [Shopper(url, oracle, rng) for _ in range(CONVERSATIONS)]
    for shopper in shoppers:
        await shopper.end_of(await shopper.say("I want to talk to a person. [{}]"), 30)
        await shopper.leave()
    tries = [(agent, str(shopper.id)) for agent in agents for shopper in shoppers]
    greedy = rng.choice(agents)  # who tries to take all before the others come
    rng.shuffle(tries)
    tries.sort(key=lambda place: place[0] is not greedy)
    won = [
        *await asyncio.gather(*(agent.claim(id) for agent, id in tries[:CONVERSATIONS])),
        *await asyncio.gather(*(agent.claim(id) for agent, id in tries[CONVERSATIONS:])),
    ]
    winners = [place for place, win in zip(tries, won, strict=True) if win]
    for id, n in Counter(id for _, id in winners).items():
        if n > 1:
            oracle.breaks(f"P9 {n} human agents won the claim of {id}")
    for agent, n in Counter(agent for _, agent, closed_at in rows.read(where).handoffs if not closed_at).items():
        if agent and n > CAPACITY:
            oracle.breaks(f"P11 {agent} holds {n} conversations of {CAPACITY}")
    await asyncio.gather(*(_say_and_give_back(agent, agents, id) for agent, id in winners))
    for agent in agents:  # nobody waits or is held when the next round begins
        for id in await agent.waiting():
            if await agent.claim(id):
                await agent.ask("POST", f"/v1/queue/{id}/close")
    held = [(agent, id) for id, agent, closed_at in rows.read(where).handoffs if agent and not closed_at]
    for name, id in held:
        agent = next(agent for agent in agents if agent.name == name)
        await agent.ask("POST", f"/v1/queue/{id}/close")


async def _say_and_give_back(agent: Agent, agents: list[Agent], conversation_id: str) -> None:
    """Speak, and while the words are on their way, give the conversation to the queue, where another takes it."""
    other = next(one for one in agents if one is not agent)
    await agent.say(conversation_id)

    async def change_hands() -> None:
        await agent.ask("POST", f"/v1/queue/{conversation_id}/release", to="queue")
        await other.claim(conversation_id)

    await asyncio.gather(*(agent.say(conversation_id) for _ in range(3)), change_hands())
