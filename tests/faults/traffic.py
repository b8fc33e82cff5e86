"""Traffic: shoppers and human agents who go on whatever happens to the server, and the comparison of the three views."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from tests.faults import rows
from tests.faults.agents import Agent
from tests.faults.oracle import Oracle
from tests.faults.process import AGENTS
from tests.faults.shoppers import AWAY, Gone, Shopper, open_tab

OUTCOME_S = 60.0
"""Longest wait for the last outcome, once the server is left in peace."""
FINISH_S = 60.0
CAPACITY = 3
"""What each human agent may hold: `BOT_CAPACITY` of the server under test."""


class Traffic:
    """Use as `async with`; what goes on inside is under load.

    Args:
        urls: where the server is; of several replicas each socket takes any.
        pause_s: mean pause of a shopper between two messages.
        plain: share of messages that are sent once, and followed by the next one once they are acknowledged;
            conversations are longer by these.
    """

    def __init__(
        self, urls: list[str], oracle: Oracle, rng: random.Random, *, shoppers: int = 10, agents: int = 2,
        pause_s: float = 0.0, plain: float = 0.0,
    ) -> None:  # fmt: skip
        self.urls, self.oracle, self.rng, self.pause_s, self.plain = urls, oracle, rng, pause_s, plain
        self.stopping = self.agents_stop = False
        self._sizes = shoppers, agents
        self._shoppers: list[asyncio.Task[None]] = []
        self._agents: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Traffic:
        shoppers, agents = self._sizes
        self._shoppers = [asyncio.create_task(self._shop(self._rng())) for _ in range(shoppers)]
        self._agents = [
            asyncio.create_task(
                Agent(self.rng.choice(self.urls), name, self.oracle, self._rng()).work(lambda: self.agents_stop)
            )
            for name in list(AGENTS)[:agents]
        ]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in (*self._shoppers, *self._agents):
            task.cancel()
        await asyncio.gather(*self._shoppers, *self._agents, return_exceptions=True)

    def _rng(self) -> random.Random:
        return random.Random(self.rng.random())

    async def _shop(self, rng: random.Random) -> None:
        while not self.stopping:
            shopper = Shopper(self.urls, self.oracle, rng)
            try:
                await self._talk(shopper, rng)
            except Gone:
                pass
            await shopper.leave()

    async def _talk(self, shopper: Shopper, rng: random.Random) -> None:
        for _ in range(round(rng.randint(2, 6) / (1 - self.plain))):
            plain = rng.random() < self.plain
            client_id = await shopper.say(copies=1 if plain else None, stay=plain)
            roll = 1.0 if plain else rng.random()
            if roll < 0.5:
                await shopper.end_of(client_id, 3)
            elif roll < 0.6:
                await shopper.cut()
            elif roll < 0.64:
                await shopper.ask_for_person()
            await asyncio.sleep(2 * self.pause_s * rng.random())
            if self.stopping or shopper.known.owner == "closed":
                return
        if self.plain:  # else the answers fall ever further behind the messages
            await shopper.end_of(client_id, 30)

    async def finish(self) -> None:
        """Let every message be acknowledged and everyone go home; the server must be up."""
        self.stopping = True
        try:
            async with asyncio.timeout(FINISH_S):
                await asyncio.gather(*self._shoppers)
                self.agents_stop = True
                await asyncio.gather(*self._agents)
        except TimeoutError:
            self.oracle.breaks(f"P6 the traffic does not come to its end within {FINISH_S:g} s of peace")


async def settled(where: str | Path, timeout_s: float = OUTCOME_S) -> rows.Rows:
    """The rows, once no message waits for its outcome, nor a conversation for its lease to end; or when time is up."""
    until = time.monotonic() + timeout_s
    while True:
        found = await asyncio.to_thread(rows.read, where)
        waits = any(row[4] is None for row in found.messages)
        held = any(agent and closed_at is None for _, agent, closed_at in found.handoffs)
        if not (waits or held) or time.monotonic() > until:
            return found
        await asyncio.sleep(0.1)


async def compare(url: str, where: str | Path, oracle: Oracle) -> None:
    """The three views at rest: the oracle, the API from seq 0, raw SQL."""
    found = await settled(where)
    rows.check(oracle, found, capacity=CAPACITY)
    gate = asyncio.Semaphore(20)

    async def from_the_start(id: str) -> None:
        async with gate:
            log = found.logs.get(id, [])
            try:
                tab = await open_tab(url, oracle, id)
            except AWAY as error:
                return oracle.breaks(f"P4 {id} cannot be opened: {error!r}")
            for _ in range(100):
                if tab.last_seq >= len(log):
                    break
                await asyncio.sleep(0.05)
            await tab.close()
            if tab.last_seq != len(log):  # what it was told is compared as it comes
                oracle.breaks(f"P4 {id}: {tab.last_seq} of {len(log)} events are told from seq 0")

    await asyncio.gather(*(from_the_start(id) for id in oracle.conversations))
