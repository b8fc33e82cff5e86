"""Who sits at the desk, in this process and in the others.

Each process tells the others over the bus who sits at its own desk: at every change, and every few seconds.
A process that has not been heard for a while has no seats; while the bus is away, each knows only its own.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from bot.protocols import Bus

SEATS = "seats"
"""Topic of who sits where."""
TELL_S = 5.0
GONE_S = 3 * TELL_S


class Seats:
    """Who sits at the desk.

    Args:
        now: seconds on a clock that only goes forward.
    """

    def __init__(self, bus: Bus, *, now: Callable[[], float] = time.monotonic) -> None:
        self._bus, self._now = bus, now
        self._me = secrets.token_hex(8)
        self._here: dict[str, asyncio.Event] = {}
        """By human agent; the event is set once they have sat down elsewhere."""
        self._elsewhere: dict[str, tuple[frozenset[str], float]] = {}
        """By process: who sits there, and when that was heard."""

    def taken(self) -> int:
        """How many human agents sit at the desk; one who sits in two processes counts once."""
        heard = [agents for agents, at in self._elsewhere.values() if at > self._now() - GONE_S]
        return len(frozenset(self._here).union(*heard))

    @asynccontextmanager
    async def take(self, agent_id: str) -> AsyncIterator[asyncio.Event]:
        """Sit down; the event that is handed out is set when the same human agent sits down elsewhere."""
        self._stand_up(agent_id)
        replaced = self._here[agent_id] = asyncio.Event()
        await self._tell(agent_id)
        try:
            yield replaced
        finally:
            if self._here.get(agent_id) is replaced:
                del self._here[agent_id]
                await self._tell()

    async def keep(self) -> None:
        """Hear the other processes and tell them of this one, for ever."""
        await asyncio.gather(self._hear(), self._repeat())

    async def _hear(self) -> None:
        async with aclosing(self._bus.subscribe(SEATS)) as items:
            async for item in items:
                if item["type"] == "seats" and item["from"] != self._me:
                    self._elsewhere[item["from"]] = frozenset(item["agents"]), self._now()
                    self._stand_up(item["new"])

    async def _repeat(self) -> None:
        while True:
            await self._tell()
            await asyncio.sleep(TELL_S)
            self._elsewhere = {p: heard for p, heard in self._elsewhere.items() if heard[1] > self._now() - GONE_S}

    def _stand_up(self, agent_id: str | None) -> None:
        if agent_id is not None and (replaced := self._here.pop(agent_id, None)) is not None:
            replaced.set()

    async def _tell(self, new: str | None = None) -> None:
        item = {"type": "seats", "from": self._me, "agents": sorted(self._here), "new": new}
        await self._bus.publish(SEATS, item)
