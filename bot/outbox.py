"""Texts on their way to one reader: sent in order, and bounded, so that a slow reader slows only itself.

Knows nothing of sockets and frames: takes texts, and what sends one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

MOST_BYTES = 128 * 1024
"""A reader for whom so much waits gets no more; uvicorn holds up to 64 KiB besides, and the kernel as run.py sets it."""


class Full(Exception):
    """The reader does not keep up."""


class Outbox:
    """A queue whose sender lives only while something waits: an idle connection costs no task.

    Args:
        send: sends one text; waits for as long as the reader takes nothing.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]], most_bytes: int = MOST_BYTES) -> None:
        self._send, self._most_bytes = send, most_bytes
        self._waiting: deque[tuple[str, int]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._error: Exception | None = None
        self.bytes = 0
        """What waits or is being sent, in UTF-8."""

    def put(self, text: str) -> None:
        """Take a text; never waits.

        Raises:
            Full: too much waits already; it is dropped.
            Exception: what `send` raised once; nothing is sent any more.
        """
        if self._error is not None:
            raise self._error
        size = len(text) if text.isascii() else len(text.encode())
        if self.bytes >= self._most_bytes:
            self._drop()
            raise Full
        self._waiting.append((text, size))
        self.bytes += size
        if self._sender is None:
            self._sender = asyncio.create_task(self._run())

    def has_room(self) -> bool:
        """Whether no more than half of it waits."""
        return self.bytes <= self._most_bytes // 2

    async def room(self) -> None:
        """Wait until there is: for who has much to say."""
        await self._until(self._most_bytes // 2)

    async def empty(self) -> None:
        """Wait until everything was sent, or sending has failed."""
        await self._until(0)

    async def aclose(self) -> None:
        """Stop sending."""
        self._drop()
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)

    async def _until(self, most_bytes: int) -> None:
        while self.bytes > most_bytes:
            self._moved.clear()
            await self._moved.wait()

    def _drop(self) -> None:
        self.bytes -= sum(size for _, size in self._waiting)
        self._waiting.clear()
        self._moved.set()

    async def _run(self) -> None:
        try:
            while self._waiting:
                text, size = self._waiting.popleft()
                await self._send(text)
                self.bytes -= size
                self._moved.set()
        except Exception as error:  # for whoever puts the next text
            self._error = error
        finally:
            self._waiting.clear()
            self.bytes, self._sender = 0, None
            self._moved.set()
