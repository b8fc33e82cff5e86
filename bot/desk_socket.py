"""One human agent's socket: the queue as it changes, and the log of what the agent holds.

The verbs are the desk's; this is their way in and out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from bot import handoff, wire
from bot.desk import Agent, Desk, joined, status_of
from bot.errors import FrameError, StoreError
from bot.live import DESK
from bot.sockets import Closed, Door, about, frame_error, origin_allowed, receive, send

log = logging.getLogger(__name__)


async def serve(ws: WebSocket, desk: Desk, door: Door) -> None:
    """One human agent's socket for all of their conversations."""
    await ws.accept()
    if not origin_allowed(ws.headers.get("origin"), ws.headers.get("host"), door.origins):
        return await ws.close(wire.CLOSE["origin_refused"], "origin refused")
    try:
        async with asyncio.timeout(10):
            hello = wire.parse(await receive(ws), wire.AGENT_FRAMES)
        agent = door.tokens.agent(hello.token) if isinstance(hello, wire.AgentHello) else None
        if agent is None:
            raise Closed("token_refused")
        await _Session(ws, desk, door, Agent(*agent), hello.last_seq).run()  # pyright: ignore[reportAttributeAccessIssue]
    except TimeoutError:
        await ws.close(wire.CLOSE["no_hello"], "no hello")
    except FrameError as error:
        await ws.close(wire.CLOSE["bad_frames"], error.code)
    except Closed as closed:
        await ws.close(closed.code, str(closed))
    except (WebSocketDisconnect, RuntimeError):
        pass  # The human agent has gone.
    except StoreError as error:
        log.error("socket closed: %s", error)
        await ws.close(wire.CLOSE["try_later"], "try later")


class _Session:
    def __init__(self, ws: WebSocket, desk: Desk, door: Door, agent: Agent, last_seq: dict[str, int]) -> None:
        self.ws, self.desk, self.door, self.agent = ws, desk, door, agent
        self.sent = dict(last_seq)
        self.watching: dict[str, asyncio.Task[None]] = {}
        """What this human agent holds: each followed by a task."""
        self.sending = asyncio.Lock()
        self.unanswered_pings = 0

    async def run(self) -> None:
        await self._send(
            "welcome", {"agent_id": self.agent.id, "name": self.agent.name, "capacity": self.desk.capacity}
        )
        for conversation_id in await self.desk.store.conversations_held(self.agent.id):
            self._watch(conversation_id)
        self.desk.live.slots += self.desk.capacity
        await self.desk.live.queue_changed()
        tasks = [asyncio.create_task(job()) for job in (self._queue, self._renew, self._ping, self._read)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.desk.live.slots -= self.desk.capacity
            tasks += list(self.watching.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, type: str, data: dict[str, Any], conversation_id: str | None = None) -> None:
        await self._frame(wire.envelope(type, conversation_id, data))

    async def _frame(self, frame: dict[str, Any]) -> None:
        async with self.sending:
            await send(self.ws, frame)

    async def _queue(self) -> None:
        async with aclosing(self.desk.live.bus.subscribe(DESK)) as items:
            await self._send("queue.snapshot", await self.desk.queue())
            async for _ in items:
                held = await self.desk.store.conversations_held(self.agent.id)
                for conversation_id in held:
                    self._watch(conversation_id)
                await self._send("queue.snapshot", await self.desk.queue())

    async def _renew(self) -> None:
        while True:
            await self.desk.store.renew(self.agent.id, lease_s=self.desk.lease_s)
            await asyncio.sleep(self.desk.lease_s / 3)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self.door.ping_s)
            if self.unanswered_pings >= 2:
                raise Closed("going_away")
            self.unanswered_pings += 1
            await self._send("ping", {"t": time.time()})

    def _watch(self, conversation_id: str) -> None:
        if conversation_id not in self.watching:
            task = asyncio.create_task(self._follow(conversation_id))
            self.watching[conversation_id] = task
            task.add_done_callback(lambda _: self.watching.pop(conversation_id, None))

    async def _follow(self, conversation_id: str) -> None:
        """Send a conversation's log, then what grows, until it is no longer this agent's."""
        mine = handoff.owned_by(self.agent.id)
        async with aclosing(self.desk.live.bus.subscribe(conversation_id)) as items:
            await self._catch_up(conversation_id)
            async for item in items:
                if "seq" in item or item["type"] in ("log.grown", "lagged"):
                    await self._catch_up(conversation_id)
                    if (await self.desk.store.conversation(conversation_id)).owner != mine:
                        self.sent.pop(conversation_id, None)
                        return
                elif item["type"] == "typing" and item["data"].get("role") == "shopper":
                    await self._frame(item)

    async def _catch_up(self, conversation_id: str) -> None:
        while events := await self.desk.store.events(conversation_id, after=self.sent.get(conversation_id, 0)):
            for event in events:
                self.sent[conversation_id] = event.seq
                await self._frame(wire.event_frame(event))

    async def _read(self) -> None:
        bad = 0
        while True:
            raw = await receive(self.ws)
            self.unanswered_pings = 0
            frame = None
            try:
                frame = wire.parse(raw, wire.AGENT_FRAMES)
                await self._act(frame)
                bad = 0
            except FrameError as error:
                bad += 1
                await self._send("error", frame_error(error))
                if bad >= wire.MAX_BAD_FRAMES:
                    raise Closed("bad_frames") from None
            except StoreError as error:
                refused = {**status_of(error)[1], **about(getattr(frame, "client_id", None))}
                await self._send("error", refused, getattr(frame, "conversation_id", None))

    async def _act(self, frame: wire.Frame) -> None:
        desk, agent = self.desk, self.agent
        match frame:
            case wire.Claim():
                done = await desk.claim(agent, frame.conversation_id)
                self._watch(frame.conversation_id)
                await self._send("claimed", done, frame.conversation_id)
            case wire.ReleaseTo():
                done = await desk.release(agent, frame.conversation_id, frame.to, frame.note)
                await self._send("released", done, frame.conversation_id)
            case wire.CloseConversation():
                note = joined(frame.resolution, frame.note)
                done = await desk.release(agent, frame.conversation_id, "closed", note)
                await self._send("closed", done, frame.conversation_id)
            case wire.MessageSend() if frame.conversation_id:
                done = await desk.say(agent, frame.conversation_id, frame.client_id, frame.text)
                await self._send("ack", done, frame.conversation_id)
            case wire.MessageSend():
                raise FrameError("bad_frame", "`conversation_id`: Field required", "conversation_id")
            case wire.Typing() if frame.conversation_id in self.watching:
                data = {"on": frame.on, "role": "human", "name": agent.name}
                await desk.live.publish(frame.conversation_id, "typing", data)
            case wire.QueueSnapshot():
                await self._send("queue.snapshot", await desk.queue())
            case _:
                pass
