"""The human agents' door: queue, claim, reply, release, over REST and one socket.

Reads frames and requests, lets the store decide who wins, and tells both sides. No rules of its own.
"""

# No `from __future__ import annotations` here: FastAPI must see the type made inside `router`.
import asyncio
import logging
import time
import uuid
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, HTTPException, Query, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field

from bot import handoff, tokens, wire
from bot.chat import Closed, Door, error_data, frame_error, origin_allowed, receive, send
from bot.errors import (
    AlreadyClaimed,
    AtCapacity,
    FrameError,
    IdempotencyConflict,
    NotFound,
    NotQueued,
    StaleEpoch,
    StoreError,
)
from bot.live import DESK, Live

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Agent:
    """A human agent who has signed in."""

    id: str
    name: str


class Desk:
    """What human agents can do; each verb raises the store's errors."""

    def __init__(self, live: Live, *, capacity: int, lease_s: float) -> None:
        self.live, self.store = live, live.bot.store
        self.capacity, self.lease_s = capacity, lease_s

    async def queue(self) -> dict[str, Any]:
        """Who waits and who is held, in the order of service."""
        places = await self.store.queue()
        waiting = [h for h in places if h.agent_id is None]
        return {
            "waiting": [{**asdict(h), "position": n} for n, h in enumerate(waiting, 1)],
            "held": [asdict(h) for h in places if h.agent_id is not None],
            "now": time.time(),
        }

    async def claim(self, agent: Agent, conversation_id: str) -> dict[str, Any]:
        """Take a conversation: exactly one of any simultaneous claims wins."""
        conversation = await self.store.conversation(conversation_id)
        text = self.live.bot.templates[conversation.locale].say("claimed", name=agent.name)
        claimed = await self.store.claim(
            conversation_id, agent_id=agent.id, name=agent.name, capacity=self.capacity, lease_s=self.lease_s, text=text
        )
        await self._changed(conversation_id)
        return {"conversation_id": conversation_id, "owner": claimed.owner, "epoch": claimed.epoch}

    async def release(self, agent: Agent, conversation_id: str, to: str, note: str) -> dict[str, Any]:
        """Give it to `bot`, back to the `queue`, or to `closed`."""
        conversation = await self.store.conversation(conversation_id)
        key = {"bot": "released", "queue": "returned_to_queue", "closed": "closed"}[to]
        text = self.live.bot.templates[conversation.locale].say(key)
        released = await self.store.release(
            conversation_id, agent_id=agent.id, to=to, text=text, note=note, epoch=conversation.epoch
        )
        await self._changed(conversation_id)
        return {"conversation_id": conversation_id, "owner": released.owner, "epoch": released.epoch}

    async def say(self, agent: Agent, conversation_id: str, client_id: str, text: str) -> dict[str, Any]:
        """A human agent's message: written under the claim's epoch, so a lost claim cannot speak."""
        conversation = await self.store.conversation(conversation_id)
        if conversation.owner != handoff.owned_by(agent.id):
            raise StaleEpoch("This conversation is not yours any more; claim it again.")
        data = {
            "message_id": f"m_{uuid.uuid5(uuid.NAMESPACE_OID, f'{conversation_id}:{agent.id}:{client_id}').hex}",
            "role": "human",
            "text": text,
            "author": agent.name,
            "client_id": client_id,
        }
        earlier = await self.store.events(conversation_id)
        for event in earlier:
            if event.data.get("message_id") == data["message_id"]:
                if event.data["text"] != text:
                    raise IdempotencyConflict("This `client_id` was used for another text.")
                return {"message_id": data["message_id"], "seq": event.seq, "client_id": client_id}
        event = await self.store.append(conversation_id, "message.created", data, epoch=conversation.epoch)
        await self.live.announce(event)
        return {"message_id": data["message_id"], "seq": event.seq, "client_id": client_id}

    async def events(self, conversation_id: str, after: int, wait_s: float) -> list[dict[str, Any]]:
        """Events after `after`; waits up to `wait_s` seconds for the first."""
        async with aclosing(self.live.bus.subscribe(conversation_id)) as items:
            found = await self.store.events(conversation_id, after=after)
            if not found and wait_s > 0:
                try:
                    async with asyncio.timeout(wait_s):
                        async for item in items:
                            if "seq" in item or item["type"] in ("log.grown", "lagged"):
                                break
                except TimeoutError:
                    pass
                found = await self.store.events(conversation_id, after=after)
        if not found:
            await self.store.conversation(conversation_id)  # NotFound rather than an empty list
        return [wire.event_frame(event) for event in found]

    async def sweep(self) -> None:
        """Return conversations whose lease has run out, for ever, every few seconds."""
        texts = {language: t.say("returned_to_queue") for language, t in self.live.bot.templates.items()}
        while True:
            await asyncio.sleep(min(5.0, self.lease_s / 4))
            try:
                for conversation_id in await self.store.expire(text=texts):
                    await self._changed(conversation_id)
            except StoreError as error:
                log.error("leases not checked: %s", error)

    async def _changed(self, conversation_id: str) -> None:
        await self.live.grown(conversation_id)
        await self.live.queue_changed()


def status_of(error: StoreError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and body of a refused verb."""
    match error:
        case NotFound():
            return 404, error_data("not_found", "There is no such conversation.", False)
        case AlreadyClaimed():
            return 409, error_data("already_claimed", str(error), False, agent_id=error.agent_id)
        case NotQueued():
            return 409, error_data("not_queued", "This conversation does not wait for a human agent.", False)
        case AtCapacity():
            return 409, error_data("at_capacity", "You hold as many conversations as allowed; finish one first.", False)
        case StaleEpoch():
            return 409, error_data("stale_epoch", "This conversation is not yours any more.", False)
        case IdempotencyConflict():
            return 409, error_data("idempotency_conflict", str(error), False)
    return 503, error_data("try_later", "The database cannot be used; try again.", True)


# REST


class SignIn(BaseModel):
    """A one-time code, or a fixed key."""

    code: str = Field(min_length=1, max_length=4096)
    name: str = Field("", max_length=64)


class Release(BaseModel):
    """Where a conversation goes."""

    to: Literal["bot", "queue"] = "bot"
    note: str = Field("", max_length=2000)


class Close(BaseModel):
    """How it ended."""

    resolution: str = Field("", max_length=200)
    note: str = Field("", max_length=2000)


class Reply(BaseModel):
    """A human agent's message."""

    text: wire.Text
    client_id: wire.Id = Field(default_factory=lambda: uuid.uuid4().hex)


def router(desk: Desk, door: Door) -> APIRouter:
    """The REST routes under `/v1`."""
    routes = APIRouter(prefix="/v1", tags=["desk"])

    async def signed_in(authorization: Annotated[str, Header()] = "") -> Agent:
        agent = door.tokens.agent(authorization.removeprefix("Bearer ").strip())
        if agent is None:
            raise HTTPException(401, "Sign in at /desk; the token is missing, wrong or too old.")
        return Agent(*agent)

    Me = Annotated[Agent, Depends(signed_in)]

    @routes.post("/agent/session")
    async def sign_in(body: SignIn) -> dict[str, Any]:
        """Exchange a one-time code for a token."""
        found = door.tokens.sign_in(body.code, body.name.strip())
        if found is None:
            raise HTTPException(401, "The code is wrong, used or too old; make a new one with `bot agent NAME`.")
        agent_id, token = found
        expires = time.time() + tokens.AGENT_HOURS * 3600
        return {"token": token, "agent_id": agent_id, "name": body.name.strip() or agent_id, "expires_at": expires}

    @routes.get("/queue")
    async def queue(me: Me) -> dict[str, Any]:
        """Who waits, in the order of service, and who is held."""
        return await desk.queue()

    @routes.post("/queue/{conversation_id}/claim")
    async def claim(conversation_id: str, me: Me) -> dict[str, Any]:
        """Take a conversation."""
        return await desk.claim(me, conversation_id)

    @routes.post("/queue/{conversation_id}/release")
    async def release(conversation_id: str, me: Me, body: Annotated[Release | None, Body()] = None) -> dict[str, Any]:
        """Give a conversation back to the bot or the queue."""
        body = body or Release()  # pyright: ignore[reportCallIssue]
        return await desk.release(me, conversation_id, body.to, body.note)

    @routes.post("/queue/{conversation_id}/close")
    async def close(conversation_id: str, me: Me, body: Annotated[Close | None, Body()] = None) -> dict[str, Any]:
        """End a conversation."""
        body = body or Close()  # pyright: ignore[reportCallIssue]
        return await desk.release(me, conversation_id, "closed", _joined(body.resolution, body.note))

    @routes.post("/conversations/{conversation_id}/messages")
    async def say(conversation_id: str, body: Reply, me: Me) -> dict[str, Any]:
        """Write to the shopper."""
        await desk.store.renew(me.id, lease_s=desk.lease_s)
        return await desk.say(me, conversation_id, body.client_id, body.text)

    @routes.get("/conversations/{conversation_id}/events")
    async def events(
        conversation_id: str, me: Me, after: Annotated[int, Query(ge=0)] = 0, wait_s: Annotated[float, Query(ge=0, le=30)] = 0
    ) -> list[dict[str, Any]]:
        """The log after `after`; long poll with `wait_s`."""
        return await desk.events(conversation_id, after, wait_s)

    return routes


def _joined(resolution: str, note: str) -> str:
    return ": ".join(part for part in (resolution.strip(), note.strip()) if part)


# The socket


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
        self.sending = asyncio.Lock()

    async def run(self) -> None:
        await self._send("welcome", {"agent_id": self.agent.id, "name": self.agent.name, "capacity": self.desk.capacity})
        for conversation_id in await self.desk.store.conversations_held(self.agent.id):
            self._watch(conversation_id)
        tasks = [asyncio.create_task(job()) for job in (self._queue, self._renew, self._ping, self._read)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            tasks += self.watching.values()
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
            await self._send("ping", {"t": time.time()})

    def _watch(self, conversation_id: str) -> None:
        if conversation_id not in self.watching or self.watching[conversation_id].done():
            self.watching[conversation_id] = asyncio.create_task(self._follow(conversation_id))

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
        for event in await self.desk.store.events(conversation_id, after=self.sent.get(conversation_id, 0)):
            self.sent[conversation_id] = event.seq
            await self._frame(wire.event_frame(event))

    async def _read(self) -> None:
        bad = 0
        while True:
            try:
                await self._act(wire.parse(await receive(self.ws), wire.AGENT_FRAMES))
                bad = 0
            except FrameError as error:
                bad += 1
                await self._send("error", frame_error(error))
                if bad >= wire.MAX_BAD_FRAMES:
                    raise Closed("bad_frames") from None
            except StoreError as error:
                await self._send("error", status_of(error)[1])

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
                note = _joined(frame.resolution, frame.note)
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
