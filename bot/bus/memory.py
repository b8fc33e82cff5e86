"""The bus within one process.

Knows nothing of what it carries. A listener that does not keep up loses items and is told so;
nobody ever waits for it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any

LAGGED = {"type": "lagged"}
"""Some items may be lost: read the log."""

CAPACITY = 500
"""Items that wait for one listener at most."""


class Listener:
    """A subscription; for one reader, who must not change the items, since others get the same ones."""

    def __init__(self, capacity: int, on_close: Callable[[Listener], None]) -> None:
        self._items: deque[dict[str, Any]] = deque()  # a third of an asyncio.Queue, for each open socket
        self._capacity, self._on_close = capacity, on_close
        self._reader: asyncio.Future[None] | None = None
        """Waits for an item."""
        self._lost = False
        self._lagging = False
        self._closed = False

    def put(self, item: dict[str, Any]) -> None:
        """Queue an item; once one did not fit, what follows is lost too until the reader has caught up."""
        if item is LAGGED and self._lagging:
            return  # One word that waits says as much as ten.
        if self._lost or len(self._items) >= self._capacity:
            self._lost = True
        else:
            self._items.append(item)
            self._lagging = self._lagging or item is LAGGED
            self._wake()

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while not self._closed and not self._items:
            if self._lost:
                self._lost = False
                return LAGGED
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._closed:
            raise StopAsyncIteration
        item = self._items.popleft()
        if item is LAGGED:
            self._lagging = False
        return item

    async def aclose(self) -> None:
        """Stop listening; a reader that waits is let go."""
        if not self._closed:
            self._closed, self._lost = True, False
            self._on_close(self)
            self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class MemoryBus:
    """Hands items to the listeners of this process."""

    lost_at = -math.inf
    """Nothing is ever on its way."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._listeners: dict[str, set[Listener]] = {}

    @property
    def topics(self) -> set[str]:
        """What somebody listens to."""
        return set(self._listeners)

    async def publish(self, topic: str, item: dict[str, Any]) -> None:
        """Hand an item to whoever listens to the topic."""
        self.hand_out(topic, item)

    def hand_out(self, topic: str, item: dict[str, Any]) -> None:
        """The same, without waiting for anything."""
        for listener in self._listeners.get(topic, ()):
            listener.put(item)

    def subscribe(self, topic: str) -> Listener:
        """Listen from now on, until closed."""

        def forget(listener: Listener) -> None:
            self._listeners[topic].discard(listener)
            if not self._listeners[topic]:
                del self._listeners[topic]

        listener = Listener(self._capacity, forget)
        self._listeners.setdefault(topic, set()).add(listener)
        return listener

    async def aclose(self) -> None:
        """End every subscription."""
        for listeners in list(self._listeners.values()):
            for listener in list(listeners):
                await listener.aclose()
