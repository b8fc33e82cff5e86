"""Who is told what, in this process and in the others: news of a conversation, of the queue, of the desk.

Carries frames to whoever listens on the bus; knows neither sockets nor turns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from bot import handoff, wire
from bot.errors import StoreError
from bot.protocols import Bus, Store
from bot.types import Event

log = logging.getLogger(__name__)

HANDLE_S = 240.0
"""How long a human agent holds a conversation, for estimates until enough have been closed to know."""
DESK = "desk"
"""Topic of what all human agents see."""
QUEUE_S = 0.2
"""The queue is read and told at most once in so long, however often it changes."""
AWAY_S = 2.0
"""After a failure of the database the queue is told again."""


class News:
    """Tells listeners."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store, self._bus = store, bus
        self.slots: Callable[[], int] = lambda: 0
        """Conversations that the human agents at the desk may hold together."""
        self._queue_changed = False
        self._asked: set[str] = set()
        """Conversations whose place somebody wants to be told."""
        self._wanted = asyncio.Event()
        """Set while the queue is to be told."""

    async def publish(self, conversation_id: str, type: str, data: Mapping[str, Any]) -> None:
        """A frame that is not in the log, to everyone who listens to the conversation."""
        await self._bus.publish(conversation_id, wire.envelope(type, conversation_id, data))

    async def announce(self, event: Event) -> None:
        """A committed event, to everyone who listens to its conversation."""
        await self._bus.publish(event.conversation_id, wire.event_frame(event))
        if event.type == "owner.changed":
            self.queue_changed()

    async def grown(self, conversation_id: str) -> None:
        """The log has grown by events that this process does not hold: listeners read them."""
        await self._bus.publish(conversation_id, {"type": "log.grown"})

    def queue_changed(self) -> None:
        """Have the desk told soon, and each shopper who waits where they stand now."""
        self._queue_changed = True
        self._wanted.set()

    def ask_place(self, conversation_id: str) -> None:
        """Have who listens to a conversation told soon where it stands, if it waits."""
        self._asked.add(conversation_id)
        self._wanted.set()

    async def tell_queue(self) -> None:
        """Tell what was wanted, for ever: all that is wanted at the same time with one reading of the queue."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            changed, self._queue_changed = self._queue_changed, False
            asked, self._asked = self._asked, set()
            try:
                positions = await self.positions()
            except StoreError as error:
                log.error("queue told again in %.0f s: %s", AWAY_S, error)
                self.queue_changed()
                await asyncio.sleep(AWAY_S)
                continue
            if changed:
                await self._bus.publish(DESK, {"type": "queue.changed"})
            for conversation_id, position in positions.items():
                if changed or conversation_id in asked:
                    await self.publish(conversation_id, "queue.position", position)
            await asyncio.sleep(QUEUE_S)

    async def positions(self) -> dict[str, dict[str, Any]]:
        """Each waiting conversation's place as its shopper is told; `eta_s` is None with nobody at the desk."""
        queue = await self._store.queue()
        waiting = [h.conversation_id for h in queue if h.agent_id is None]
        held = len(queue) - len(waiting)
        return {
            conversation_id: {
                "position": place,
                "eta_s": handoff.eta_s(place, slots=self.slots(), held=held, handle_s=HANDLE_S),
            }
            for place, conversation_id in enumerate(waiting, 1)
        }
