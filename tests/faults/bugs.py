"""Seeded bugs: each breaks one promise, and the harness must notice (catch.py says by which scenario).

`seed` patches the product in the process that is to misbehave.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from sqlalchemy import event, select, update
from sqlalchemy.engine.default import DefaultDialect

from bot import chat, turn
from bot.live import Live
from bot.outbox import Outbox
from bot.store import log, queue, sqlite
from bot.store.schema import handoffs, messages
from bot.store.sql import SqlStore


def seed(name: str) -> None:
    """Break what this bug breaks; an empty name breaks nothing."""
    if name:
        BUGS[name]()


def ack_before_commit() -> None:
    """P1: a message is handed back as written while its transaction is open."""

    async def append_message(self: SqlStore, conversation_id: str, **named: Any) -> Any:
        told: Future[Any] = Future()

        def early(c: Any) -> None:
            try:
                told.set_result(log.append_message(c, conversation_id, now=self._now(), **named))
            except Exception as error:
                told.set_exception(error)
                raise
            time.sleep(0.1)  # long enough for the ack to leave on a busy machine too

        database: Any = self._database
        database._jobs.put(sqlite.Job(early, asyncio.get_running_loop().create_future()))
        return await asyncio.wrap_future(told)

    SqlStore.append_message = append_message


def _synchronous(mode: str) -> None:
    inside = sqlite._engine

    def engine(*args: Any, **named: Any) -> Any:
        made = inside(*args, **named)
        event.listen(made, "connect", lambda raw, _: raw.execute(f"PRAGMA synchronous={mode}"))
        return made

    sqlite._engine = engine


def synchronous_normal() -> None:
    """P1: a commit is synced at the next checkpoint only."""
    _synchronous("NORMAL")


def synchronous_off() -> None:
    """P1: nothing is ever synced."""
    _synchronous("OFF")


def failed_commit_counts() -> None:
    """P1, P17: a commit that the disk refused is handed back as made."""
    inside = DefaultDialect.do_commit

    def do_commit(self: Any, raw: Any) -> None:
        with suppress(sqlite3.OperationalError):
            inside(self, raw)

    DefaultDialect.do_commit = do_commit


def no_unique_index() -> None:
    """P2: a message is looked for before the transaction, and nothing refuses the second one."""
    inside = SqlStore.append_message

    async def append_message(self: SqlStore, conversation_id: str, *, client_id: str, **named: Any) -> Any:
        like = select(messages.c.seq).where(
            messages.c.conversation_id == conversation_id, messages.c.client_id.startswith(client_id + "#")
        )
        seq = await self._database.read(lambda c: c.execute(like).scalar())
        if seq is not None:
            return (await self.events(conversation_id, after=seq - 1, limit=1))[0], "known"
        return await inside(self, conversation_id, client_id=f"{client_id}#{time.monotonic_ns()}", **named)

    SqlStore.append_message = append_message


def resume_off_by_one() -> None:
    """P4: a socket that resumes is not told the first event that it missed."""
    inside = chat._Session.__init__

    def init(self: Any, sock: Any, door: Any, hello: Any) -> None:
        inside(self, sock, door, hello.model_copy(update={"last_seq": hello.last_seq + bool(hello.last_seq)}))

    chat._Session.__init__ = init


def cancel_not_passed_on() -> None:
    """P7: who stops an answer is believed to have done so."""
    Live.cancel = lambda self, conversation_id, message_id=None: True


def cancel_without_a_word() -> None:
    """P6: a stopped answer has its outcome, and the log says nothing of it."""

    async def stop(self: Any) -> None:
        await self.bot.store.settle(self.conversation.id, message_id=self.message_id, outcome="cancelled")

    turn._Turn.stop = stop


def handoff_in_its_own_transaction() -> None:
    """P6, P8: the message has ended before the conversation is queued."""
    inside = SqlStore.hand_off

    async def hand_off(self: SqlStore, conversation_id: str, *, message_id: str | None, **named: Any) -> Any:
        if message_id is not None:
            await self.settle(conversation_id, message_id=message_id, outcome="handed_off")
        return await inside(self, conversation_id, message_id=None, **named)

    SqlStore.hand_off = hand_off


def claim_without_condition() -> None:
    """P9: whoever claims wins, also what is held."""
    inside = queue.claim

    def claim(c: Any, conversation_id: str, **named: Any) -> Any:
        this = update(handoffs).where(handoffs.c.conversation_id == conversation_id, handoffs.c.closed_at.is_(None))
        c.execute(this.where(handoffs.c.agent_id != named["agent_id"]).values(agent_id=None))
        return inside(c, conversation_id, **named)

    queue.claim = claim


def no_fencing() -> None:
    """P9, P12: a stale epoch is as good as the current one."""
    log.must_be_current = lambda head, epoch: None


def append_without_owner() -> None:
    """P9: a human agent's message is written whoever holds the conversation by now."""
    inside = SqlStore.append_reply

    async def append_reply(self: SqlStore, conversation_id: str, *, epoch: int, **named: Any) -> Any:
        await asyncio.sleep(0.2)
        now = await self.conversation(conversation_id)
        return await inside(self, conversation_id, epoch=now.epoch, **named)

    SqlStore.append_reply = append_reply


def capacity_outside_the_transaction() -> None:
    """P11: what one holds is counted before the claim."""
    inside = SqlStore.claim

    async def claim(self: SqlStore, conversation_id: str, *, agent_id: str, capacity: int, **named: Any) -> Any:
        room = capacity - len(await self.conversations_held(agent_id))
        return await inside(self, conversation_id, agent_id=agent_id, capacity=1_000_000 if room > 0 else 0, **named)

    SqlStore.claim = claim


def unbounded_queue() -> None:
    """P15: what waits for a reader may grow for ever."""
    Outbox.__init__.__defaults__ = (2**60,)


def drain_that_drops() -> None:
    """P16: who goes down leaves what is being answered as it stands."""

    async def stop(self: Any) -> None:
        """Record nothing."""

    async def aclose(self: Live, timeout_s: float = 0.0) -> None:
        self._closing.set()
        for line in self._lines.values():
            if line.task is not None:
                line.task.cancel()

    turn._Turn.stop = stop
    Live.aclose = aclose


def redis_as_truth() -> None:
    """P4, P18: a socket is told what the bus brings, in the order in which it comes, and nothing else."""

    async def pump(self: Any, items: Any) -> None:
        async for item in items:
            if "seq" in item:
                self._event(item)
            elif item["type"] == "log.grown":
                await self._catch_up()
            elif item["type"] in chat.BOT_ONLY:
                await self._passing(item["type"], item["data"])

    chat._Session._pump = pump


BUGS = {
    bug.__name__: bug
    for bug in (
        ack_before_commit, synchronous_normal, synchronous_off, failed_commit_counts, no_unique_index,
        resume_off_by_one, cancel_not_passed_on, cancel_without_a_word, handoff_in_its_own_transaction,
        claim_without_condition, no_fencing, append_without_owner, capacity_outside_the_transaction, unbounded_queue,
        drain_that_drops, redis_as_truth,
    )
}  # fmt: skip
