"""The shopper's door: hello, resume, frames in, events out.

Writes in the log what the frames say, and hands the rest to `live`. Decides nothing about answers.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from fastapi import WebSocket

from bot import handoff, sockets, tokens, turn, wire
from bot.errors import ConversationClosed, FrameError, NotFound
from bot.history import read_log
from bot.protocols import Subscription
from bot.refusals import error_data
from bot.sockets import Closed, Door, Socket
from bot.types import Conversation, Event, Language

BOT_ONLY = ("message.started", "message.delta", "status")
"""What a listener may hear of an answer before it is in the log."""


async def serve(ws: WebSocket, door: Door) -> None:
    """One shopper's socket, from hello to its end."""

    async def session(sock: Socket) -> None:
        await _Session(sock, door, await sock.hello(wire.SHOPPER_FRAMES, wire.Hello)).run()

    await sockets.serve(ws, door, session)


class _Session:
    def __init__(self, sock: Socket, door: Door, hello: wire.Hello) -> None:
        self.sock, self.door, self.hello = sock, door, hello
        self.live, self.store = door.live, door.live.bot.store
        self.sent_seq = hello.last_seq
        self.owner = ""
        self.completed: set[str] = set()
        """Answers that this socket has heard the end of, or that another has followed, since they were given up."""
        self.started = ""
        """The answer that this socket has heard the start of."""
        seen = hello.delta_from
        self.shown: tuple[str, int] = (seen.message_id, seen.index) if seen else ("", 0)
        """The answer in flight, and the index of its next delta."""
        self.conversation: Conversation

    async def run(self) -> None:
        shopper_id = None
        if self.hello.token:
            shopper_id = self.door.tokens.read(tokens.SHOPPER, self.hello.token)
            if shopper_id is None:
                raise Closed("token_refused")
        conversation_id, resume_token = self.hello.conversation_id, self.hello.resume_token
        if conversation_id is None:
            conversation_id, resume_token = await self._begin(shopper_id)
        # Subscribe first, read the log after: nothing falls between.
        async with aclosing(self.live.bus.subscribe(conversation_id)) as items:
            try:
                self.conversation, log = await self.store.read(
                    conversation_id, after=self.sent_seq, limit=sockets.PAGE
                )
            except NotFound:
                raise Closed("no_conversation") from None
            self._check(shopper_id, resume_token)
            self.sock.conversation_id = conversation_id
            self.live.join(conversation_id)
            try:
                await self._welcome(resume_token, log)
                await sockets.until_one_ends(
                    self._pump(items), self.sock.ping(), self.sock.read(wire.SHOPPER_FRAMES, self._act)
                )
            finally:
                await self.live.leave(conversation_id)

    async def _begin(self, shopper_id: str | None) -> tuple[str, str]:
        """A new conversation: its id, and the secret that resumes it."""
        if not self.door.limits.address.room(self.sock.address):
            raise Closed("too_fast", sockets.pause_ms(self.door))
        token, resume_hash = tokens.new_secret()
        self.sent_seq = 0
        conversation = await self.store.create(
            site=self.hello.site, locale=wire.language_of(self.hello.locale), shopper_id=shopper_id,
            resume_hash=resume_hash,
        )  # fmt: skip
        return conversation.id, token

    def _check(self, shopper_id: str | None, resume_token: str | None) -> None:
        """Somebody else's conversation is told in the same words as one that does not exist."""
        conversation = self.conversation
        by_token = resume_token is not None and tokens.same(resume_token, conversation.resume_hash)
        by_shopper = shopper_id is not None and shopper_id == conversation.shopper_id
        if not (by_token or by_shopper) or (shopper_id and conversation.shopper_id not in (None, shopper_id)):
            raise Closed("no_conversation")

    async def _welcome(self, resume_token: str | None, log: list[Event]) -> None:
        conversation = self.conversation  # As it was found; what has changed since stands in the log that follows.
        templates = self.live.bot.templates[conversation.locale]
        self.owner = public_owner(conversation.owner)
        self.sock.send(
            "welcome",
            {
                "conversation_id": conversation.id, "resume_token": resume_token, "seq": conversation.seq,
                "owner": self.owner, "epoch": conversation.epoch, "locale": conversation.locale,
                "greeting": templates.say("greeting"), "starters": list(templates.texts["starters"]),
            },
        )  # fmt: skip
        if self.sent_seq > conversation.seq:
            self.sock.send("resync_required", {"from_seq": 0})
            self.sent_seq = 0
            log = await self.store.events(conversation.id, limit=sockets.PAGE)
        await self.live.ask(conversation.id)  # Before a long log, which may outlast the grace time.
        if await self._tell(log):
            await self._catch_up()
        if self.owner == "queued":
            self.live.news.ask_place(conversation.id)

    # Events out

    async def _catch_up(self) -> None:
        while await self._tell(await self.store.events(self.conversation.id, after=self.sent_seq, limit=sockets.PAGE)):
            pass

    async def _tell(self, log: list[Event]) -> bool:
        """Send a page of the log; whether more may follow."""
        for event in log:
            await self.sock.room()
            self._event(wire.event_frame(event))
        return len(log) == sockets.PAGE

    def _event(self, frame: dict[str, Any]) -> None:
        frame = shoppers_view(frame)
        self.sent_seq = frame["seq"]
        if frame["type"] == "owner.changed":
            self.owner = frame["data"]["owner"]
        elif frame["type"] == "message.completed":
            self.completed.add(frame["data"]["message_id"])
        self.sock.frame(frame)

    async def _passing(self, type: str, data: Mapping[str, Any]) -> None:
        """Tell of an answer in flight, unless somebody else has taken over, it has ended, or it was told already."""
        if self.owner != handoff.BOT or data.get("message_id") in self.completed:
            return
        match type:
            case "message.started":
                if data["message_id"] == self.started:
                    return
                self.started = data["message_id"]
            case "message.delta":
                answer_id, index = data["message_id"], data["index"]
                following = self.shown[1] if self.shown[0] == answer_id else 0
                if index > following:  # What came between was missed: it is told again, and this with it.
                    return await self.live.ask(self.conversation.id)
                if index < following:
                    return
                if answer_id != self.shown[0]:
                    self.completed.add(self.shown[0])
                self.shown = (answer_id, index + 1)
        self.sock.send(type, data)

    async def _pump(self, items: Subscription) -> None:
        async for item in items:
            if (seq := item.get("seq")) is not None:
                if seq == self.sent_seq + 1:
                    self._event(item)
                elif seq > self.sent_seq:
                    await self._catch_up()
            elif item["type"] == "log.grown":
                await self._catch_up()
            elif item["type"] == "lagged":
                await self._catch_up()
                await self.live.ask(self.conversation.id)
                if self.owner == handoff.QUEUED:
                    self.live.news.ask_place(self.conversation.id)
            elif item["type"] in BOT_ONLY:
                await self._passing(item["type"], item["data"])
            elif item["type"] != "typing" or item["data"]["role"] != "shopper":
                self.sock.frame(item)

    # Frames in

    async def _act(self, frame: wire.Frame) -> None:
        conversation_id = self.conversation.id
        # Each type has a limit of its own, so that many messages do not use up the button to a person.
        if not isinstance(frame, wire.Pong | wire.Read) and not self._room(type(frame).__name__):
            return self._refuse(frame)
        match frame:
            case wire.MessageSend() if self.door.draining.is_set():
                raise Closed("going_away", sockets.pause_ms(self.door))
            case wire.MessageSend():
                self.live.join(conversation_id)  # If the socket goes while it is written, the grace time begins after.
                try:
                    await self._message(frame)
                finally:
                    await self.live.leave(conversation_id)
            case wire.MessageCancel():
                await self.live.stop(conversation_id, frame.message_id)
            case wire.HandoffRequest():
                await self._request_person()
            case wire.Typing():
                await self.live.news.publish(conversation_id, "typing", {"on": frame.on, "role": "shopper"})
            case wire.Feedback():
                _, log = await turn.whole_log(self.store, conversation_id)
                if frame.message_id not in {e.data["message_id"] for e in log if e.type == "message.completed"}:
                    raise FrameError("bad_frame", "`message_id`: no such answer here.", "message_id")
                await self._append("feedback.given", frame)
            case wire.CsatSubmit():
                await self._append("csat.given", frame)
            case wire.Hello():
                raise FrameError("bad_frame", "This socket has said hello already.", "type")
            case _:
                pass  # pong and read need nothing more

    def _room(self, kind: str) -> bool:
        """Whether this shopper sent fewer of this kind in the last minute than allowed, and their address too."""
        limits, shopper = self.door.limits, self.conversation.shopper_id or self.conversation.id
        return limits.shopper.room(f"{kind} {shopper}") and (
            kind != wire.MessageSend.__name__ or limits.address.room(self.sock.address)
        )

    def _refuse(self, frame: wire.Frame) -> None:
        """Say that it was too fast; typing is dropped without a word, and who does not listen is closed."""
        if isinstance(frame, wire.Typing):
            return
        if not self._room("refused"):
            raise Closed("too_fast")
        about = {"client_id": frame.client_id} if isinstance(frame, wire.MessageSend) else {}
        self.sock.send("error", error_data("too_fast", "Too many messages; please wait a moment.", True, **about))

    async def _append(self, type: str, frame: wire.Frame) -> None:
        data = frame.model_dump(exclude={"type"}, exclude_none=True)
        await self.live.news.announce(await self.store.append(self.conversation.id, type, data))

    async def _message(self, frame: wire.MessageSend) -> None:
        event, arrival = await self.store.append_message(
            self.conversation.id, client_id=frame.client_id, message_id=f"m_{uuid.uuid4().hex}", text=frame.text
        )
        message_id = event.data["message_id"]
        try:
            self.sock.send("ack", {"client_id": frame.client_id, "message_id": message_id, "seq": event.seq})
        finally:  # It is in the log: it is answered, though nobody may be there to hear the ack.
            if arrival != "known":
                await self.live.news.announce(event)
            if arrival == "relayed":
                self.live.ended("relayed")
            else:
                self.live.start(self.conversation.id)

    async def _request_person(self) -> None:
        conversation, log = await turn.whole_log(self.store, self.conversation.id)
        if conversation.owner == handoff.QUEUED:
            return self.live.news.ask_place(conversation.id)
        if conversation.owner == handoff.CLOSED:
            raise ConversationClosed(f"Conversation {conversation.id} is closed.")
        if conversation.owner != handoff.BOT:
            return
        told = read_log(log, "")
        language: Language = wire.language_of(conversation.locale, told.questions[-1] if told.questions else "")
        await turn.hand_off(
            self.live.bot,
            conversation,
            told,
            "asked_for_person",
            language=language,
            passage_ids=told.passage_ids,
            announce=self.live.news.announce,
        )
        await self.live.stop(conversation.id)


def public_owner(owner: str) -> str:
    """The owner without the human agent's id, which is the desk's."""
    return "human" if handoff.held_by(owner) is not None else owner


def shoppers_view(frame: dict[str, Any]) -> dict[str, Any]:
    """A durable event's frame as the shopper may see it."""
    frame = wire.for_shopper(frame)
    if "owner" in frame["data"]:
        frame["data"]["owner"] = public_owner(frame["data"]["owner"])
    return frame
