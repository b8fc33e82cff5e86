"""Any engine, with a bound on how much it generates at once.

Who waits does so in order, and within the time of the turn that asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from bot.protocols import Engine
from bot.types import Message


class BoundedEngine:
    """Hands on to `engine` what fits.

    Args:
        most: generations at once.
    """

    def __init__(self, engine: Engine, most: int) -> None:
        self.name, self.fingerprint = engine.name, engine.fingerprint
        self.count, self.aclose = engine.count, engine.aclose
        self._engine = engine
        self._free = asyncio.Semaphore(most)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, only: Sequence[str] = ()
    ) -> AsyncGenerator[str, None]:
        """The engine's text, once it may begin."""
        async with self._free, aclosing(self._engine.stream(messages, max_tokens=max_tokens, only=only)) as stream:
            async for piece in stream:
                yield piece
