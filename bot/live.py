"""What is under way in this process: running turns, the deltas of answers in flight, who listens.

Between the doors and the story: knows neither sockets nor models, and decides nothing. Which process tells
a turn is settled in the store, by a lease; what processes say to one another over the bus may be lost.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from bot import turn
from bot.errors import LeaseLost, StoreError
from bot.line import Line
from bot.news import News
from bot.parts import Bot
from bot.protocols import Bus
from bot.refusals import error_data
from bot.types import Outcome

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""After a failure of the database a turn is told again, first after so long, then after twice as long, and so on."""
LONGEST_RETRY_S = 30.0
LEASE_S = 8.0
"""A turn whose process is gone for so long is told by another."""
SWEEP_S = 2.0
"""How often leases are renewed, and turns looked for that nobody tells."""
SWEPT = 1000
"""While so many turns are told, none is taken up that others left: it would only wait for the engine, and its shopper
for a socket meanwhile."""
TURNS = "turns"
"""Topic of what processes ask of one another about turns under way."""


class Live:
    """Runs turns, as long as somebody listens.

    Args:
        grace_s: how long an answer is still written after the last listener has gone.
        retry_s: pause after the database has failed a turn for the first time.
    """

    def __init__(self, bot: Bot, bus: Bus, *, grace_s: float, retry_s: float = RETRY_S) -> None:
        self.bot, self.bus, self.grace_s, self.retry_s = bot, bus, grace_s, retry_s
        self.news = News(bot.store, bus)
        self._me = secrets.token_hex(8)
        self._lines: dict[str, Line] = {}
        self._lost: set[asyncio.Task[Outcome]] = set()
        """Turns that another process held when the leases were last renewed."""
        self._lagged_at = -math.inf
        """When words of other processes may last have been missed, on the event loop's clock."""
        self._closing = asyncio.Event()
        self.outcomes: dict[str, int] = {}
        """Turns that ended in this process, by outcome."""

    # Running turns

    def start(self, conversation_id: str) -> None:
        """Answer what waits in a conversation, one message after another, unless another process does."""
        if self._closing.is_set():
            return
        line = self._lines.setdefault(conversation_id, Line())
        line.more = True
        if line.task is None:
            line.task = asyncio.create_task(self._run(conversation_id, line), name=f"turns {conversation_id}")

    async def _run(self, conversation_id: str, line: Line) -> None:
        """Take turns and tell them, as often as the database fails them, until their ends stand in the log."""
        failures, unsure = 0, None
        try:
            while line.more and not self._closing.is_set():
                line.more, line.answer_id, line.deltas = False, None, []
                try:
                    line.message_id = await self.bot.store.take_turn(conversation_id, lease_s=LEASE_S)
                    if unsure is not None and unsure != line.message_id:
                        await self._ended(conversation_id)
                    unsure = line.message_id
                    if line.message_id is not None and self._closing.is_set():  # the next start tells it
                        await self.bot.store.leave_turn(conversation_id, message_id=line.message_id)
                    elif line.message_id is not None:
                        await self._tell(conversation_id, line.message_id, line)
                        line.more, unsure, failures = True, None, 0
                except LeaseLost as error:
                    log.warning("turn left: %s", error)
                    unsure = None
                except StoreError as error:
                    line.more = True
                    if not await self._pause(conversation_id, failures, error):
                        return  # Another process, or the next start, finds the message unfinished.
                    failures += 1
        finally:
            line.rest()
            if not line.listeners:
                self._drop(conversation_id, line)

    async def _ended(self, conversation_id: str) -> None:
        """A turn's end was written, but perhaps nobody was told."""
        await self.news.grown(conversation_id)
        self.news.queue_changed()

    async def _pause(self, conversation_id: str, failures: int, error: StoreError) -> bool:
        """Wait until a turn is told again; False if this process ends before."""
        pause_s = retry_pause_s(failures, self.retry_s)
        log.error("turn told again in %.0f s: %s", pause_s, error)
        if not failures:
            said = error_data("try_later", "Your message is kept; the answer takes a little longer.", True)
            await self.news.publish(conversation_id, "error", said)
        try:
            await asyncio.wait_for(self._closing.wait(), pause_s)
        except TimeoutError:
            return True
        return False

    async def _tell(self, conversation_id: str, message_id: str, line: Line) -> None:
        async def emit(type: str, data: Mapping[str, Any]) -> None:
            if type == "message.started":
                line.answer_id = data["message_id"]
            elif type == "message.delta":
                line.deltas.append(dict(data))
            await self.news.publish(conversation_id, type, data)

        began = time.perf_counter()
        story = line.story = asyncio.create_task(
            turn.answer(self.bot, conversation_id, message_id, emit=emit, announce=self.news.announce)
        )
        if not line.wants(message_id):
            story.cancel()
        try:
            outcome: Outcome = await story
        except asyncio.CancelledError:
            if line.task is None or line.task.cancelling():  # Not the turn, but this process ends.
                raise
            # A turn that was stopped before it began to be told has not recorded its end itself,
            # and one that was stopped while it wrote its end has told nobody.
            await turn.cancel(self.bot, conversation_id, message_id, emit=emit, announce=self.news.announce)
            await self._ended(conversation_id)
            outcome = "cancelled"
        finally:
            line.story = None
        self.ended(outcome)
        log.info("turn %s %s in %.2f s", conversation_id, outcome, time.perf_counter() - began)

    def ended(self, outcome: Outcome) -> None:
        """Count a message that has its outcome."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def in_flight(self, conversation_id: str) -> tuple[str, list[dict[str, Any]]] | None:
        """The answer that this process writes: its id and its deltas so far."""
        line = self._lines.get(conversation_id)
        return (line.answer_id, list(line.deltas)) if line and line.answer_id else None

    def busy(self, conversation_id: str) -> bool:
        """Whether a message of this conversation is being answered."""
        line = self._lines.get(conversation_id)
        return line is not None and line.task is not None

    def cancel(self, conversation_id: str, message_id: str | None = None) -> bool:
        """Stop the answer that this process writes, if it is this one (by its own id or its question's)."""
        line = self._lines.get(conversation_id)
        return line is not None and line.cancel(message_id)

    async def recover(self) -> int:
        """Hold on to the turns of this process, and take up those that nobody tells (any more); how many it holds."""
        told = {conversation_id: line.story for conversation_id, line in self._lines.items() if line.story}
        most = 0 if self._closing.is_set() else max(0, SWEPT - len(told))
        held = {place[0] for place in await self.bot.store.hold_turns(lease_s=LEASE_S, most=most)}
        for conversation_id in held - told.keys():
            self.start(conversation_id)
        lost = {story for conversation_id, story in told.items() if conversation_id not in held}
        # Once may be a turn that just ended; twice is one that another process took while this one slept.
        for story in lost & self._lost:
            story.cancel()
        self._lost = lost
        return len(held)

    async def sweep(self) -> None:
        """Recover for ever, every few seconds."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.recover()
            except StoreError as error:
                log.error("turns not held: %s", error)

    # Listeners

    def join(self, conversation_id: str) -> None:
        """A socket listens: an answer in its grace time goes on."""
        line = self._lines.setdefault(conversation_id, Line())
        line.listeners += 1
        line.go_on()

    async def leave(self, conversation_id: str) -> None:
        """A socket is gone: after the last one an answer has `grace_s` left."""
        line = self._lines.get(conversation_id)
        if line is None:
            return
        line.listeners -= 1
        if line.listeners > 0:
            return
        if line.task is None:
            self._drop(conversation_id, line)
            await self._say("left", conversation_id)
        else:
            self._give_grace(conversation_id, line)

    def _give_grace(self, conversation_id: str, line: Line) -> None:
        """Nobody listens here: stop after `grace_s`, unless somebody comes, or listens elsewhere.

        Who may not have been heard, since words were lost meanwhile, is asked once more.
        """
        if line.grace is None:
            line.grace = asyncio.create_task(self._wait(conversation_id, line), name=f"grace {conversation_id}")

    async def _wait(self, conversation_id: str, line: Line) -> None:
        while True:
            began = asyncio.get_running_loop().time()
            await self._say("left", conversation_id)
            await asyncio.sleep(self.grace_s)
            if max(self.bus.lost_at, self._lagged_at) < began:
                return line.give_up()

    def _drop(self, conversation_id: str, line: Line) -> None:
        """Forget a line without listeners and turns, and the time that it had left."""
        line.go_on()
        if self._lines.get(conversation_id) is line:
            del self._lines[conversation_id]

    # Other processes

    async def stop(self, conversation_id: str, message_id: str | None = None) -> None:
        """Stop the answer being written, here or elsewhere."""
        if not self.cancel(conversation_id, message_id):
            await self._say("cancel", conversation_id, message_id=message_id)

    async def ask(self, conversation_id: str) -> None:
        """Somebody listens here: who writes an answer tells it again from its beginning."""
        if self.in_flight(conversation_id) is not None:
            await self._again(conversation_id)
        else:
            await self._say("joined", conversation_id)

    async def hear(self) -> None:
        """Do what other processes ask for, for ever. What is missed is only later or less: nothing here is the truth."""
        async with aclosing(self.bus.subscribe(TURNS)) as items:
            async for item in items:
                if item["type"] == "lagged":
                    self._lagged_at = asyncio.get_running_loop().time()
                elif item["from"] != self._me:
                    await self._heard(item["type"], item["conversation_id"], item["message_id"])

    async def _heard(self, type: str, conversation_id: str, message_id: str | None) -> None:
        if (line := self._lines.get(conversation_id)) is None:
            return
        match type:
            case "cancel":
                self.cancel(conversation_id, message_id)
            case "joined":
                line.go_on()
                await self._again(conversation_id)
            case "left" if line.listeners:
                await self._say("joined", conversation_id)
            case "left" if line.task is not None:
                self._give_grace(conversation_id, line)

    async def _say(self, type: str, conversation_id: str, message_id: str | None = None) -> None:
        item = {"type": type, "conversation_id": conversation_id, "message_id": message_id, "from": self._me}
        await self.bus.publish(TURNS, item)

    async def _again(self, conversation_id: str) -> None:
        """Tell the answer in flight once more: listeners leave out what they know."""
        if (found := self.in_flight(conversation_id)) is not None:
            answer_id, deltas = found
            await self.news.publish(conversation_id, "message.started", {"message_id": answer_id})
            for delta in deltas:
                await self.news.publish(conversation_id, "message.delta", delta)

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
