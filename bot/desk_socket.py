"""One human agent's socket: the queue as it changes, and the log of what the agent holds.

The verbs are the desk's; this is their way in and out.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, NoReturn

from fastapi import WebSocket

from bot import handoff, sockets, wire
from bot.desk import Agent, Desk, joined
from bot.errors import FrameError
from bot.news import DESK
from bot.sockets import Closed, Door, Socket


async def serve(ws: WebSocket, desk: Desk, door: Door) -> None:
    """One human agent's socket for all of their conversations."""

    async def session(sock: Socket) -> None:
        hello = await sock.hello(wire.AGENT_FRAMES, wire.AgentHello)
        if (agent := door.tokens.agent(hello.token)) is None:
            raise Closed("token_refused")
        await _Session(sock, desk, Agent(*agent), hello.last_seq).run()

    await sockets.serve(ws, door, session)


class _Session:
    def __init__(self, sock: Socket, desk: Desk, agent: Agent, last_seq: dict[str, int]) -> None:
        self.sock, self.desk, self.agent = sock, desk, agent
        self.sent = dict(last_seq)
        self.watching: dict[str, asyncio.Task[None]] = {}
        """What this human agent holds: each followed by a task."""
        self.failed: asyncio.Queue[BaseException] = asyncio.Queue()

    async def run(self) -> None:
        self.sock.send("welcome", {"agent_id": self.agent.id, "name": self.agent.name, "capacity": self.desk.capacity})
        for conversation_id in await self.desk.store.conversations_held(self.agent.id):
            self._watch(conversation_id)
        try:
            async with self.desk.seat(self.agent) as taken:
                await sockets.until_one_ends(
                    self._queue(), self._renew(), self._leave(taken), self._fail(), self.sock.ping(),
                    self.sock.read(wire.AGENT_FRAMES, self._act),
                )  # fmt: skip
        finally:
            watching = list(self.watching.values())
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _queue(self) -> None:
        async with aclosing(self.desk.live.bus.subscribe(DESK)) as items:
            self.sock.send("queue.snapshot", await self.desk.queue())
            async for _ in items:
                await self.sock.room()
                held = await self.desk.store.conversations_held(self.agent.id)
                for conversation_id in held:
                    self._watch(conversation_id)
                self.sock.send("queue.snapshot", await self.desk.queue())

    async def _renew(self) -> None:
        while True:
            await self.desk.store.renew(self.agent.id, lease_s=self.desk.lease_s)
            await asyncio.sleep(self.desk.lease_s / 3)

    async def _leave(self, taken: asyncio.Event) -> NoReturn:
        await taken.wait()
        raise Closed("replaced")

    async def _fail(self) -> NoReturn:
        """A conversation that cannot be followed ends the socket: the next one follows it again."""
        raise await self.failed.get()

    def _watch(self, conversation_id: str) -> None:
        if conversation_id not in self.watching:
            task = asyncio.create_task(self._follow(conversation_id))
            self.watching[conversation_id] = task
            task.add_done_callback(lambda task: self._unwatch(conversation_id, task))

    def _unwatch(self, conversation_id: str, task: asyncio.Task[None]) -> None:
        self.watching.pop(conversation_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed.put_nowait(error)

    async def _follow(self, conversation_id: str) -> None:
        """Send a conversation's log, then what grows, until it is no longer this agent's."""
        mine = handoff.owned_by(self.agent.id)
        async with aclosing(self.desk.live.bus.subscribe(conversation_id)) as items:
            if self.sent.get(conversation_id, 0) > (await self.desk.store.conversation(conversation_id)).seq:
                self.sock.send("resync_required", {"from_seq": 0}, conversation_id)
                self.sent[conversation_id] = 0
            await self._catch_up(conversation_id)
            async for item in items:
                if "seq" in item or item["type"] in ("log.grown", "lagged"):
                    await self._catch_up(conversation_id)
                    if (await self.desk.store.conversation(conversation_id)).owner != mine:
                        self.sent.pop(conversation_id, None)
                        return
                elif item["type"] == "typing" and item["data"].get("role") == "shopper":
                    await self.sock.room()
                    self.sock.frame(item)

    async def _catch_up(self, conversation_id: str) -> None:
        full = True
        while full:
            after = self.sent.get(conversation_id, 0)
            events = await self.desk.store.events(conversation_id, after=after, limit=sockets.PAGE)
            for event in events:
                await self.sock.room()
                self.sent[conversation_id] = event.seq
                self.sock.frame(wire.event_frame(event))
            full = len(events) == sockets.PAGE

    async def _send(self, type: str, data: dict[str, Any], conversation_id: str | None = None) -> None:
        """Send what was asked for, once there is room: a long queue may be on its way."""
        await self.sock.room()
        self.sock.send(type, data, conversation_id)

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
                raise FrameError("bad_frame", "`conversation_id`: Field required.", "conversation_id", frame.client_id)
            case wire.Typing() if frame.conversation_id in self.watching:
                data = {"on": frame.on, "role": "human", "name": agent.name}
                await desk.live.news.publish(frame.conversation_id, "typing", data)
            case wire.QueueSnapshot():
                await self._send("queue.snapshot", await desk.queue())
            case wire.AgentHello():
                raise FrameError("bad_frame", "This socket has said hello already.", "type")
            case _:
                pass
