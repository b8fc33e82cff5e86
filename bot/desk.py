"""The human agents' door: queue, claim, reply, release, and the REST routes.

Reads frames and requests, lets the store decide who wins, and tells both sides. No rules of its own.
"""

# No `from __future__ import annotations` here: FastAPI must see the type made inside `router`.
import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, HTTPException, Query
from pydantic import BaseModel, Field

from bot import handoff, tokens, wire
from bot.errors import StaleEpoch, StoreError
from bot.live import Live
from bot.seats import Seats
from bot.sockets import Door
from bot.types import Language

log = logging.getLogger(__name__)


SHOWN = 100
"""Of those who wait, how many the desk is shown: it is told at each change, and the first are served first."""


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
        self.seats = Seats(live.bus)
        live.news.slots = lambda: self.seats.taken() * capacity

    @asynccontextmanager
    async def seat(self, agent: Agent) -> AsyncIterator[asyncio.Event]:
        """Sit at the desk; the event that is handed out is set when the same human agent sits down elsewhere."""
        try:
            async with self.seats.take(agent.id) as replaced:
                self.live.news.queue_changed()  # Who waits is told how long, now that somebody has come or gone.
                yield replaced
        finally:
            self.live.news.queue_changed()

    async def queue(self) -> dict[str, Any]:
        """Who waits (the first of them) and who is held, in the order of service."""
        places = await self.store.queue()
        waiting = [h for h in places if h.agent_id is None]
        return {
            "waiting": [{**asdict(h), "position": n} for n, h in enumerate(waiting[:SHOWN], 1)],
            "in_all": len(waiting),
            "held": [asdict(h) for h in places if h.agent_id is not None],
            "now": time.time(),
        }

    async def claim(self, agent: Agent, conversation_id: str) -> dict[str, Any]:
        """Take a conversation: exactly one of any simultaneous claims wins."""
        conversation = await self.store.conversation(conversation_id)
        text = self.live.bot.templates[conversation.locale].say("claimed", name=agent.name)
        claimed = await self.store.claim(
            conversation_id,
            agent_id=agent.id,
            name=agent.name,
            capacity=self.capacity,
            lease_s=self.lease_s,
            text=text,
        )
        await self._changed(conversation_id)
        return {"conversation_id": conversation_id, "owner": claimed.owner, "epoch": claimed.epoch}

    async def release(self, agent: Agent, conversation_id: str, to: str, note: str) -> dict[str, Any]:
        """Give it to `bot`, back to the `queue`, or to `closed`."""
        conversation = await self.store.conversation(conversation_id)
        key = {"bot": "released", "queue": "returned_to_queue", "closed": "closed"}[to]
        text = self.live.bot.templates[conversation.locale].say(key)
        try:
            released = await self.store.release(
                conversation_id, agent_id=agent.id, to=to, text=text, note=note, epoch=conversation.epoch
            )
        except StoreError as error:
            mine = conversation.owner == handoff.owned_by(agent.id)
            if type(error) is not StoreError or not mine:
                raise
            # The database failed, perhaps after it had committed: then a second try would be refused, and nobody told.
            released = await self.store.conversation(conversation_id)
            if (released.owner, released.epoch) != (handoff.owner_after(to), conversation.epoch + 1):
                raise
        await self._changed(conversation_id)
        return {"conversation_id": conversation_id, "owner": released.owner, "epoch": released.epoch}

    async def say(self, agent: Agent, conversation_id: str, client_id: str, text: str) -> dict[str, Any]:
        """A human agent's message: written under the claim's epoch, so a lost claim cannot speak."""
        conversation = await self.store.conversation(conversation_id)
        if conversation.owner != handoff.owned_by(agent.id):
            raise StaleEpoch("This conversation is not yours any more; claim it again.")
        data = {
            "message_id": f"m_{uuid.uuid4().hex}",
            "role": "human",
            "text": text,
            "author": agent.name,
            "client_id": client_id,
        }
        event = await self.store.append_reply(
            conversation_id,
            client_id=f"{agent.id} {client_id}",  # no shopper's id has a space
            data=data,
            epoch=conversation.epoch,
        )
        await self.live.news.announce(event)
        return {"message_id": event.data["message_id"], "seq": event.seq, "client_id": client_id}

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

    async def spend(self, code_id: str) -> bool:
        """Mark a one-time code as used; False if it was already."""
        return await self.store.spend_code(code_id, lifetime_s=tokens.CODE_MINUTES * 60)

    async def sweep(self) -> None:
        """Return conversations whose lease has run out, for ever, every few seconds."""
        texts: dict[Language, str] = {
            language: t.say("returned_to_queue") for language, t in self.live.bot.templates.items()
        }
        while True:
            await asyncio.sleep(min(5.0, self.lease_s / 4))
            try:
                for conversation_id in await self.store.expire(text=texts):
                    await self._changed(conversation_id)
            except StoreError as error:
                log.error("leases not checked: %s", error)

    async def _changed(self, conversation_id: str) -> None:
        await self.live.news.grown(conversation_id)
        self.live.news.queue_changed()


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

    guard = Depends(signed_in)

    @routes.post("/agent/session")
    async def sign_in(body: SignIn) -> dict[str, Any]:
        """Exchange a one-time code for a token."""
        found = await door.tokens.sign_in(body.code, body.name.strip(), desk.spend)
        if found is None:
            raise HTTPException(401, "The code is wrong, used or too old; make a new one with `bot agent NAME`.")
        agent_id, token = found
        expires = time.time() + tokens.AGENT_HOURS * 3600
        return {"token": token, "agent_id": agent_id, "name": body.name.strip() or agent_id, "expires_at": expires}

    @routes.get("/queue")
    async def queue(me: Annotated[Agent, guard]) -> dict[str, Any]:
        """Who waits, in the order of service, and who is held."""
        return await desk.queue()

    @routes.post("/queue/{conversation_id}/claim")
    async def claim(conversation_id: str, me: Annotated[Agent, guard]) -> dict[str, Any]:
        """Take a conversation."""
        return await desk.claim(me, conversation_id)

    @routes.post("/queue/{conversation_id}/release")
    async def release(
        conversation_id: str, me: Annotated[Agent, guard], body: Annotated[Release | None, Body()] = None
    ) -> dict[str, Any]:
        """Give a conversation back to the bot or the queue."""
        body = body or Release()  # pyright: ignore[reportCallIssue]
        return await desk.release(me, conversation_id, body.to, body.note)

    @routes.post("/queue/{conversation_id}/close")
    async def close(
        conversation_id: str, me: Annotated[Agent, guard], body: Annotated[Close | None, Body()] = None
    ) -> dict[str, Any]:
        """End a conversation."""
        body = body or Close()  # pyright: ignore[reportCallIssue]
        return await desk.release(me, conversation_id, "closed", joined(body.resolution, body.note))

    @routes.post("/conversations/{conversation_id}/messages")
    async def say(conversation_id: str, body: Reply, me: Annotated[Agent, guard]) -> dict[str, Any]:
        """Write to the shopper."""
        await desk.store.renew(me.id, lease_s=desk.lease_s)
        return await desk.say(me, conversation_id, body.client_id, body.text)

    @routes.get("/conversations/{conversation_id}/events")
    async def events(
        conversation_id: str,
        me: Annotated[Agent, guard],
        after: Annotated[int, Query(ge=0, le=wire.MAX_SEQ)] = 0,
        wait_s: Annotated[float, Query(ge=0, le=30)] = 0,
    ) -> list[dict[str, Any]]:
        """The log after `after`; long poll with `wait_s`."""
        return await desk.events(conversation_id, after, wait_s)

    return routes


def joined(resolution: str, note: str) -> str:
    return ": ".join(part for part in (resolution.strip(), note.strip()) if part)
