"""The shopper's door: hello, resume, frames in, events out.

Reads frames, writes what they say in the log, and hands the rest to `live`. Decides nothing about answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from bot import tokens, turn, wire
from bot.errors import FrameError, IdempotencyConflict, NotFound, StoreError
from bot.history import read_log
from bot.sockets import (
    Closed,
    Door,
    about,
    error_data,
    frame_error,
    origin_allowed,
    quietly,
    receive,
    send,
)
from bot.types import Conversation, Language

log = logging.getLogger(__name__)

HELLO_S = 10.0


async def serve(ws: WebSocket, door: Door) -> None:
    """One shopper's socket, from hello to its end."""
    await ws.accept()
    if not origin_allowed(ws.headers.get("origin"), ws.headers.get("host"), door.origins):
        return await ws.close(wire.CLOSE["origin_refused"], "origin refused")
    try:
        hello = await _hello(ws)
        await _Session(ws, door, hello).run()
    except Closed as closed:
        await quietly(ws.close(closed.code, str(closed)))
    except (WebSocketDisconnect, RuntimeError):
        pass  # The shopper has gone; starlette raises RuntimeError for a send after that.
    except StoreError as error:
        log.error("socket closed: %s", error)
        await quietly(send(ws, wire.envelope("error", None, error_data("try_later", "Please try again.", True))))
        await quietly(ws.close(wire.CLOSE["try_later"], "try later"))


async def _hello(ws: WebSocket) -> wire.Hello:
    try:
        async with asyncio.timeout(HELLO_S):
            while True:
                try:
                    frame = wire.parse(await receive(ws))
                except FrameError as error:
                    await send(ws, wire.envelope("error", None, frame_error(error)))
                    raise Closed("bad_frames") from None
                if isinstance(frame, wire.Hello):
                    return frame
                if not isinstance(frame, wire.Pong):
                    raise Closed("no_hello")
    except TimeoutError:
        raise Closed("no_hello") from None


class _Session:
    def __init__(self, ws: WebSocket, door: Door, hello: wire.Hello) -> None:
        self.ws, self.door, self.hello = ws, door, hello
        self.live, self.store = door.live, door.live.bot.store
        self.sent_seq = hello.last_seq
        self.unanswered_pings = 0
        self.recent: tuple[deque[float], deque[float]] = (deque(), deque())
        self.conversation: Conversation

    async def run(self) -> None:
        shopper_id = None
        if self.hello.token:
            shopper_id = self.door.tokens.read(tokens.SHOPPER, self.hello.token)
            if shopper_id is None:
                raise Closed("token_refused")
        self.conversation, resume_token = await self._open(shopper_id)
        conversation_id = self.conversation.id
        self.live.join(conversation_id)
        try:
            # Subscribe first, read the log after: nothing falls between.
            async with aclosing(self.live.bus.subscribe(conversation_id)) as items:
                await self._welcome(resume_token)
                tasks = [
                    asyncio.create_task(self._pump(items)),
                    asyncio.create_task(self._ping()),
                    asyncio.create_task(self._read()),
                ]
                try:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self.live.leave(conversation_id)

    async def _open(self, shopper_id: str | None) -> tuple[Conversation, str | None]:
        hello = self.hello
        if hello.conversation_id is None:
            token, resume_hash = tokens.new_secret()
            self.sent_seq = 0
            conversation = await self.store.create(
                site=hello.site, locale=wire.language_of(hello.locale), shopper_id=shopper_id, resume_hash=resume_hash
            )
            return conversation, token
        try:
            conversation = await self.store.conversation(hello.conversation_id)
        except NotFound:
            raise Closed("no_conversation") from None
        by_token = hello.resume_token is not None and tokens.same(hello.resume_token, conversation.resume_hash)
        by_shopper = shopper_id is not None and shopper_id == conversation.shopper_id
        # Somebody else's conversation is told in the same words as one that does not exist.
        if not (by_token or by_shopper) or (shopper_id and conversation.shopper_id not in (None, shopper_id)):
            raise Closed("no_conversation")
        return conversation, hello.resume_token

    async def _welcome(self, resume_token: str | None) -> None:
        conversation = await self.store.conversation(self.conversation.id)
        templates = self.live.bot.templates[conversation.locale]
        await self._send(
            "welcome",
            {
                "conversation_id": conversation.id, "resume_token": resume_token, "seq": conversation.seq,
                "owner": public_owner(conversation.owner), "epoch": conversation.epoch, "locale": conversation.locale,
                "greeting": templates.say("greeting"), "starters": list(templates.texts["starters"]),
            },
        )  # fmt: skip
        if self.sent_seq > conversation.seq:
            await self._send("resync_required", {"from_seq": 0})
            self.sent_seq = 0
        await self._catch_up()
        if in_flight := self.live.in_flight(conversation.id):
            answer_id, deltas = in_flight
            seen = self.hello.delta_from
            first = seen.index if seen and seen.message_id == answer_id else 0
            await self._send("message.started", {"message_id": answer_id})
            for delta in deltas[first:]:
                await self._send("message.delta", delta)
        if conversation.owner == "queued":
            await self._position()

    async def _position(self) -> None:
        if position := (await self.live.positions()).get(self.conversation.id):
            await self._send("queue.position", position)

    async def _send(self, type: str, data: Mapping[str, Any]) -> None:
        await send(self.ws, wire.envelope(type, self.conversation.id, data))

    async def _catch_up(self) -> None:
        while events := await self.store.events(self.conversation.id, after=self.sent_seq, limit=500):
            for event in events:
                await self._event(wire.event_frame(event))

    async def _event(self, frame: dict[str, Any]) -> None:
        self.sent_seq = frame["seq"]
        await send(self.ws, shoppers_view(frame))

    async def _pump(self, items: Any) -> None:
        async for item in items:
            if (seq := item.get("seq")) is not None:
                if seq == self.sent_seq + 1:
                    await self._event(item)
                elif seq > self.sent_seq:
                    await self._catch_up()
            elif item["type"] in ("log.grown", "lagged"):
                await self._catch_up()
            elif item["type"] != "typing" or item["data"]["role"] != "shopper":
                await send(self.ws, item)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self.door.ping_s)
            if self.unanswered_pings >= 2:
                raise Closed("going_away")
            self.unanswered_pings += 1
            await self._send("ping", {"t": time.time()})

    async def _read(self) -> None:
        bad = 0
        while True:
            raw = await receive(self.ws)
            self.unanswered_pings = 0
            client_id = None
            try:
                frame = wire.parse(raw)
                client_id = getattr(frame, "client_id", None)
                await self._act(frame)
                bad = 0
            except FrameError as error:
                bad += 1
                await self._send("error", frame_error(error))
                if bad >= wire.MAX_BAD_FRAMES:
                    raise Closed("bad_frames") from None
            except IdempotencyConflict:
                message = "This `client_id` was used for another text."
                await self._send(
                    "error", error_data("idempotency_conflict", message, False, "client_id", **about(client_id))
                )
            except StoreError as error:
                log.error("frame not carried out: %s", error)
                message = "Nothing was saved; please try again."
                await self._send("error", error_data("try_later", message, True, **about(client_id)))

    async def _act(self, frame: wire.Frame) -> None:
        conversation_id = self.conversation.id
        if not isinstance(frame, wire.Pong | wire.Read) and self._too_fast(isinstance(frame, wire.Typing)):
            if not isinstance(frame, wire.Typing):
                wait = error_data(
                    "too_fast", "Too many messages; please wait a moment.", True,
                    **about(getattr(frame, "client_id", None)),
                )  # fmt: skip
                await self._send("error", wait)
            return
        match frame:
            case wire.MessageSend():
                await self._message(frame)
            case wire.MessageCancel():
                self.live.cancel(conversation_id, frame.message_id)
            case wire.HandoffRequest():
                await self._request_person()
            case wire.Typing():
                await self.live.publish(conversation_id, "typing", {"on": frame.on, "role": "shopper"})
            case wire.Feedback():
                log_ids = {e.data.get("message_id") for e in await turn.whole_log(self.store, conversation_id)}
                if frame.message_id not in log_ids:
                    raise FrameError("bad_frame", "`message_id`: no such message here.", "message_id")
                await self._append("feedback.given", frame)
            case wire.CsatSubmit():
                await self._append("csat.given", frame)
            case wire.Hello():
                raise FrameError("bad_frame", "This socket has said hello already.", "type")
            case _:
                pass  # pong and read need nothing more

    async def _append(self, type: str, frame: wire.Frame) -> None:
        data = frame.model_dump(exclude={"type"}, exclude_none=True)
        await self.live.announce(await self.store.append(self.conversation.id, type, data))

    async def _message(self, frame: wire.MessageSend) -> None:
        conversation = await self.store.conversation(self.conversation.id)
        if conversation.owner == "closed":
            return await self._send(
                "error", error_data("closed", "This conversation is closed; start a new one.", False,
                                client_id=frame.client_id)
            )  # fmt: skip
        event, new = await self.store.append_message(
            conversation.id, client_id=frame.client_id, message_id=f"m_{uuid.uuid4().hex}", text=frame.text
        )
        message_id = event.data["message_id"]
        await self._send("ack", {"client_id": frame.client_id, "message_id": message_id, "seq": event.seq})
        if new:
            await self.live.announce(event)
            self.live.start(conversation.id, message_id)

    def _too_fast(self, typing: bool) -> bool:
        """Whether this frame is over the limit of the last minute; typing has a limit of its own."""
        now, recent = time.monotonic(), self.recent[typing]
        while recent and recent[0] < now - 60:
            recent.popleft()
        if len(recent) >= self.door.messages_per_minute:
            return True
        recent.append(now)
        return False

    async def _request_person(self) -> None:
        conversation = await self.store.conversation(self.conversation.id)
        if conversation.owner == "queued":
            return await self._position()
        if conversation.owner != "bot":
            return
        told = read_log(await turn.whole_log(self.store, conversation.id), "")
        language: Language = wire.language_of(conversation.locale, told.questions[-1] if told.questions else "")
        await turn.hand_off(
            self.live.bot,
            conversation,
            told,
            "asked_for_person",
            language=language,
            passage_ids=told.passage_ids,
            announce=self.live.announce,
        )
        self.live.cancel(conversation.id)


def public_owner(owner: str) -> str:
    """The owner without the human agent's id, which is the desk's."""
    return "human" if owner.startswith("human:") else owner


def shoppers_view(frame: dict[str, Any]) -> dict[str, Any]:
    """A durable event's frame as the shopper may see it."""
    frame = wire.for_shopper(frame)
    if "owner" in frame["data"]:
        frame["data"]["owner"] = public_owner(frame["data"]["owner"])
    return frame
