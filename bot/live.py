"""What is under way in this process: running turns, the deltas of answers in flight, who is told.

Between the doors and the story: knows neither sockets nor models, and decides nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot import handoff, turn, wire
from bot.errors import NotFound, StoreError
from bot.parts import Bot
from bot.protocols import Bus
from bot.types import Event, Outcome

log = logging.getLogger(__name__)

HANDLE_S = 240.0
"""How long a human agent holds a conversation, for estimates until enough have been closed to know."""
RETRY_S = 1.0
"""After a failure of the database a turn is told again, first after so long, then after twice as long, and so on."""
LONGEST_RETRY_S = 30.0
DESK = "desk"
"""Topic of what all human agents see."""


@dataclass
class _Line:
    """One conversation's turns, told one after another."""

    waiting: deque[str] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    """Tells the turns."""
    story: asyncio.Task[Outcome] | None = None
    """The turn under way."""
    message_id: str | None = None
    """The shopper's message that is being answered."""
    answer_id: str | None = None
    deltas: list[dict[str, Any]] = field(default_factory=list)
    listeners: int = 0
    grace: asyncio.TimerHandle | None = None


class Live:
    """Runs turns and tells listeners.

    Args:
        grace_s: how long an answer is still written after the last listener has gone.
        retry_s: pause after the database has failed a turn for the first time.
    """

    def __init__(self, bot: Bot, bus: Bus, *, grace_s: float, retry_s: float = RETRY_S) -> None:
        self.bot, self.bus, self.grace_s, self.retry_s = bot, bus, grace_s, retry_s
        self._lines: dict[str, _Line] = {}
        self._closing = asyncio.Event()
        self.slots = 0
        """Conversations that the human agents at this process's desk may hold together."""
        self.outcomes: dict[str, int] = {}
        """Turns that ended in this process, by outcome."""

    # Telling

    async def publish(self, conversation_id: str, type: str, data: Mapping[str, Any]) -> None:
        """A frame that is not in the log, to everyone who listens to the conversation."""
        await self.bus.publish(conversation_id, wire.envelope(type, conversation_id, data))

    async def announce(self, event: Event) -> None:
        """A committed event, to everyone who listens to its conversation."""
        await self.bus.publish(event.conversation_id, wire.event_frame(event))
        if event.type == "owner.changed":
            await self.queue_changed()

    async def grown(self, conversation_id: str) -> None:
        """The log has grown by events that this process does not hold: listeners read them."""
        await self.bus.publish(conversation_id, {"type": "log.grown"})

    async def queue_changed(self) -> None:
        """Tell the desk, and each shopper who waits where they stand now."""
        await self.bus.publish(DESK, {"type": "queue.changed"})
        for conversation_id, position in (await self.positions()).items():
            await self.publish(conversation_id, "queue.position", position)

    async def positions(self) -> dict[str, dict[str, Any]]:
        """Each waiting conversation's place as its shopper is told; `eta_s` is None with nobody at the desk."""
        queue = await self.bot.store.queue()
        waiting = [h.conversation_id for h in queue if h.agent_id is None]
        held = len(queue) - len(waiting)
        return {
            conversation_id: {
                "position": place,
                "eta_s": handoff.eta_s(place, slots=self.slots, held=held, handle_s=HANDLE_S),
            }
            for place, conversation_id in enumerate(waiting, 1)
        }

    # Running turns

    def start(self, conversation_id: str, message_id: str) -> None:
        """Answer a message once those before it are answered."""
        if self._closing.is_set():
            return
        line = self._lines.setdefault(conversation_id, _Line())
        if message_id == line.message_id or message_id in line.waiting:
            return
        line.waiting.append(message_id)
        if line.task is None:
            line.task = asyncio.create_task(self._run(conversation_id, line), name=f"turns {conversation_id}")

    async def _run(self, conversation_id: str, line: _Line) -> None:
        try:
            while line.waiting and not self._closing.is_set():
                line.message_id = line.waiting.popleft()
                await self._finish(conversation_id, line.message_id, line)
        finally:
            line.task = line.message_id = line.answer_id = None
            line.deltas = []
            if not line.listeners:
                self._drop(conversation_id, line)

    async def _finish(self, conversation_id: str, message_id: str, line: _Line) -> None:
        """Tell a turn, as often as the database fails it, until its end stands in the log."""
        for attempt in itertools.count():
            line.answer_id, line.deltas = None, []
            try:
                if attempt and (conversation_id, message_id) not in await self.bot.store.unfinished():
                    # It was written after all, but nobody was told.
                    await self.grown(conversation_id)
                    return await self.queue_changed()
                return await self._tell(conversation_id, message_id, line)
            except NotFound as error:
                return log.error("turn given up: %s", error)
            except StoreError as error:
                pause_s = retry_pause_s(attempt, self.retry_s)
                log.error("turn told again in %.0f s: %s", pause_s, error)
                if not attempt:
                    await self.publish(
                        conversation_id, "error",
                        {"code": "try_later", "message": "Your message is kept; the answer takes a little longer.",
                         "retryable": True, "request_id": uuid.uuid4().hex[:12]},
                    )  # fmt: skip
            if await self._closes_within(pause_s):
                return  # Whoever starts next finds the message unfinished.

    async def _closes_within(self, pause_s: float) -> bool:
        try:
            await asyncio.wait_for(self._closing.wait(), pause_s)
        except TimeoutError:
            return False
        return True

    async def _tell(self, conversation_id: str, message_id: str, line: _Line) -> None:
        async def emit(type: str, data: Mapping[str, Any]) -> None:
            if type == "message.started":
                line.answer_id = data["message_id"]
            elif type == "message.delta":
                line.deltas.append(dict(data))
            await self.publish(conversation_id, type, data)

        began = time.perf_counter()
        story = line.story = asyncio.create_task(
            turn.answer(self.bot, conversation_id, message_id, emit=emit, announce=self.announce)
        )
        try:
            outcome: Outcome = await story
        except asyncio.CancelledError:
            if line.task is None or line.task.cancelling():  # Not the turn, but this process ends.
                raise
            # A turn that was stopped before it began to be told has not recorded its end itself.
            await self.bot.store.settle(conversation_id, message_id=message_id, outcome="cancelled")
            outcome = "cancelled"
        finally:
            line.story = None
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        log.info("turn %s %s in %.2f s", conversation_id, outcome, time.perf_counter() - began)

    def in_flight(self, conversation_id: str) -> tuple[str, list[dict[str, Any]]] | None:
        """The answer being written: its id and its deltas so far."""
        line = self._lines.get(conversation_id)
        return (line.answer_id, list(line.deltas)) if line and line.answer_id else None

    def cancel(self, conversation_id: str, message_id: str | None = None) -> bool:
        """Stop the answer being written, if it is this one (by its own id or its question's)."""
        line = self._lines.get(conversation_id)
        if line is None or line.story is None or message_id not in (None, line.answer_id, line.message_id):
            return False
        if not line.story.cancelling():  # A second time would stop it from recording its end.
            line.story.cancel()
        return True

    # Listeners

    def join(self, conversation_id: str) -> None:
        """A socket listens: an answer in its grace time goes on."""
        line = self._lines.setdefault(conversation_id, _Line())
        line.listeners += 1
        if line.grace is not None:
            line.grace.cancel()
            line.grace = None

    def leave(self, conversation_id: str) -> None:
        """A socket is gone: after the last one an answer has `grace_s` left."""
        line = self._lines.get(conversation_id)
        if line is None:
            return
        line.listeners -= 1
        if line.listeners > 0:
            return
        if line.task is None:
            self._drop(conversation_id, line)
        else:
            line.grace = asyncio.get_running_loop().call_later(self.grace_s, self.cancel, conversation_id)

    def _drop(self, conversation_id: str, line: _Line) -> None:
        """Forget a line without listeners and turns, and the time that it had left."""
        if line.grace is not None:
            line.grace.cancel()
        if self._lines.get(conversation_id) is line:
            del self._lines[conversation_id]

    async def recover(self, conversation_id: str | None = None) -> int:
        """Take up the turns that a process left unfinished, of all conversations or one; how many."""
        unfinished = [u for u in await self.bot.store.unfinished() if conversation_id in (None, u[0])]
        for place in unfinished:
            self.start(*place)
        return len(unfinished)

    async def aclose(self, timeout_s: float = 20.0) -> None:
        """Let running answers finish for a while, then record them as cancelled."""
        self._closing.set()
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
            for line in self._lines.values():
                if line.story is not None:
                    line.story.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def retry_pause_s(attempt: int, first_s: float) -> float:
    """Seconds before a turn is told again, after this many failures before: twice as long each time, up to a limit."""
    return min(LONGEST_RETRY_S, first_s * 2 ** min(attempt, 10))
