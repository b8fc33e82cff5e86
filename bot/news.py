"""Who is told what, in this process and in the others: news of a conversation, of the queue, of the desk.

Carries frames to whoever listens on the bus; knows neither sockets nor turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bot import handoff, wire
from bot.protocols import Bus, Store
from bot.types import Event

HANDLE_S = 240.0
"""How long a human agent holds a conversation, for estimates until enough have been closed to know."""
DESK = "desk"
"""Topic of what all human agents see."""


class News:
    """Tells listeners."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store, self._bus = store, bus
        self.slots: Callable[[], int] = lambda: 0
        """Conversations that the human agents at the desk may hold together."""

    async def publish(self, conversation_id: str, type: str, data: Mapping[str, Any]) -> None:
        """A frame that is not in the log, to everyone who listens to the conversation."""
        await self._bus.publish(conversation_id, wire.envelope(type, conversation_id, data))

    async def announce(self, event: Event) -> None:
        """A committed event, to everyone who listens to its conversation."""
        await self._bus.publish(event.conversation_id, wire.event_frame(event))
        if event.type == "owner.changed":
            await self.queue_changed()

    async def grown(self, conversation_id: str) -> None:
        """The log has grown by events that this process does not hold: listeners read them."""
        await self._bus.publish(conversation_id, {"type": "log.grown"})

    async def queue_changed(self) -> None:
        """Tell the desk, and each shopper who waits where they stand now."""
        await self._bus.publish(DESK, {"type": "queue.changed"})
        for conversation_id, position in (await self.positions()).items():
            await self.publish(conversation_id, "queue.position", position)

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
