"""Whether this process should be sent shoppers: what `/readyz` tells.

It listens only once the models and the index are loaded, so what can fail later is asked each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bot.errors import StoreError
from bot.parts import Bot
from bot.sockets import Door

LAG_S = 1.0
"""An event loop that comes so much too late serves nobody well."""
TICK_S = 0.5
DATABASE_S = 2.0
"""How long the database may take to answer."""


class Health:
    """What is asked of a bot and its doors.

    Args:
        now: a clock for tests; seconds.
    """

    def __init__(self, bot: Bot, door: Door, now: Callable[[], float] = time.monotonic) -> None:
        self._bot, self._door, self._now = bot, door, now
        self.lag_s = 0.0
        """How much too late the event loop came at the last tick."""

    async def watch(self) -> None:
        """Measure the event loop, for ever."""
        while True:
            due = self._now() + TICK_S
            await asyncio.sleep(TICK_S)
            self.lag_s = max(0.0, self._now() - due)

    async def why_not(self) -> list[str]:
        """What keeps it from being ready: `draining`, `lag`, `database`; empty if nothing does."""
        why = ["draining"] if self._door.draining.is_set() else []
        if self.lag_s > LAG_S:
            why.append("lag")
        try:
            async with asyncio.timeout(DATABASE_S):
                await self._bot.store.ping()
        except (StoreError, TimeoutError):
            why.append("database")
        return why

    def figures(self) -> dict[str, Any]:
        """What is loaded, and how it goes."""
        return {
            "release": self._bot.release.id,
            "engine": self._bot.engine.name,
            "index": self._bot.retriever.generation,
            "connections": len(self._door.open),
            "lag_s": round(self.lag_s, 3),
        }
