"""Every frame that is read, as a Pydantic model; those that are sent are described in wire_sent.py and wire_desk.py.

Knows shapes only: no socket, no store. `parse` reads a frame of the shopper or of a human agent,
`envelope` writes one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bot.errors import FrameError
from bot.types import Event, Language

VERSION = 1
MAX_FRAME_BYTES = 64 * 1024
MAX_TEXT_CHARACTERS = 2000
MAX_SEQ = 2**31 - 1
"""What a database's integer holds."""
MAX_BAD_FRAMES = 3
"""In a row; then the socket closes with 4400."""

CLOSE = {
    "done": 1000, "going_away": 1001, "too_big": 1009, "internal": 1011, "try_later": 1013, "bad_frames": 4400,
    "token_refused": 4401, "origin_refused": 4403, "no_conversation": 4404, "no_hello": 4408, "replaced": 4409,
    "too_fast": 4429,
}  # fmt: skip


def clean(text: str) -> str:
    """NFC, without control and invisible direction characters; newlines and tabs stay.

    Raises:
        ValueError: nothing readable is left.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(c for c in text if c in "\n\t\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    kept = unicodedata.normalize("NFC", kept)  # last: what stood between two characters may be gone
    if not kept.replace("\u200d", "").strip():
        raise ValueError("the text is empty")
    return kept.strip()


def _whole(text: Any) -> Any:
    """Without half characters (lone surrogates), which a browser sends when it cuts an emoji in two."""
    return "".join(c for c in text if not "\ud800" <= c <= "\udfff") if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_whole), Field(max_length=MAX_TEXT_CHARACTERS), AfterValidator(clean)]
_ID = r"[A-Za-z0-9_.:\-]{1,64}"
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=f"^{_ID}$")]


class Frame(BaseModel):
    """Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class DeltaFrom(Frame):
    """Where an answer in flight was last seen."""

    message_id: Id
    index: int = Field(ge=0)


class Hello(Frame):
    """First frame of a shopper's socket."""

    type: Literal["hello"] = "hello"
    site: Id = "default"
    token: str | None = Field(None, max_length=4096)
    """The shop's signed JWT; `sub` is the shopper."""
    conversation_id: Id | None = None
    resume_token: str | None = Field(None, max_length=128)
    last_seq: int = Field(0, ge=0)
    delta_from: DeltaFrom | None = None
    locale: str | None = Field(None, max_length=35)


class MessageSend(Frame):
    """A message; `client_id` makes it idempotent. `conversation_id` is for human agents."""

    type: Literal["message.send"] = "message.send"
    client_id: Id
    text: Text
    conversation_id: Id | None = None


class MessageCancel(Frame):
    """Stop the answer that is being written."""

    type: Literal["message.cancel"] = "message.cancel"
    message_id: Id


class Typing(Frame):
    """The other side is writing."""

    type: Literal["typing"] = "typing"
    on: bool
    conversation_id: Id | None = None


class Feedback(Frame):
    """A thumb up or down on an answer."""

    type: Literal["feedback"] = "feedback"
    message_id: Id
    rating: Literal["up", "down"]
    reason: str | None = Field(None, max_length=64)
    text: Text | None = None


class HandoffRequest(Frame):
    """The button "talk to a person"."""

    type: Literal["handoff.request"] = "handoff.request"
    reason: str | None = Field(None, max_length=200)


class Read(Frame):
    """Seen up to `seq`."""

    type: Literal["read"] = "read"
    seq: int = Field(ge=0)


class CsatSubmit(Frame):
    """How content the shopper is."""

    type: Literal["csat.submit"] = "csat.submit"
    score: int = Field(ge=1, le=5)
    text: Text | None = None


class Pong(Frame):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"
    t: float = 0


class AgentHello(Frame):
    """First frame of a human agent's socket."""

    type: Literal["hello"] = "hello"
    token: str = Field(max_length=4096)
    last_seq: dict[str, int] = {}


class Claim(Frame):
    """Take a conversation from the queue."""

    type: Literal["claim"] = "claim"
    conversation_id: Id


class ReleaseTo(Frame):
    """Give a conversation back."""

    type: Literal["release"] = "release"
    conversation_id: Id
    to: Literal["bot", "queue"] = "bot"
    note: str = Field("", max_length=2000)


class CloseConversation(Frame):
    """End a conversation."""

    type: Literal["close"] = "close"
    conversation_id: Id
    resolution: str = Field("", max_length=200)
    note: str = Field("", max_length=2000)


class QueueSnapshot(Frame):
    """Ask who waits."""

    type: Literal["queue.snapshot"] = "queue.snapshot"


SHOPPER_FRAMES: dict[str, type[Frame]] = {
    "hello": Hello, "message.send": MessageSend, "message.cancel": MessageCancel, "typing": Typing,
    "feedback": Feedback, "handoff.request": HandoffRequest, "read": Read, "csat.submit": CsatSubmit, "pong": Pong,
}  # fmt: skip
AGENT_FRAMES: dict[str, type[Frame]] = {
    "hello": AgentHello, "message.send": MessageSend, "typing": Typing, "claim": Claim, "release": ReleaseTo,
    "close": CloseConversation, "queue.snapshot": QueueSnapshot, "pong": Pong,
}  # fmt: skip


def parse(raw: str | bytes, frames: Mapping[str, type[Frame]] = SHOPPER_FRAMES) -> Frame:
    """Read a frame: fields may stand under `data` or beside `type`.

    Raises:
        FrameError: `too_large`, `bad_json`, `bad_frame` or `unknown_type`, with the field at fault.
    """
    if len(raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES:
        raise FrameError("too_large", f"A frame may have at most {MAX_FRAME_BYTES} bytes.")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise FrameError("bad_json", "The frame is not JSON.") from None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise FrameError("bad_frame", "A frame is a JSON object with a `type`.", "type")
    if value.get("v", VERSION) != VERSION:
        raise FrameError("bad_frame", f"This server speaks version {VERSION}.", "v")
    if (model := frames.get(value["type"])) is None:
        raise FrameError("unknown_type", f"Unknown frame type; known here: {', '.join(frames)}.", "type")
    data = value.get("data")
    fields = {**value, **data} if isinstance(data, dict) else value
    try:
        return model.model_validate({**fields, "type": value["type"]})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        client_id = fields.get("client_id")
        known = client_id if isinstance(client_id, str) and re.fullmatch(_ID, client_id) else None
        raise FrameError("bad_frame", f"`{where}`: {message}.", where, known) from None


def now() -> str:
    """The time as frames carry it: UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def envelope(type: str, conversation_id: str | None, data: Mapping[str, Any]) -> dict[str, Any]:
    """A frame that is not in the log."""
    return {"v": VERSION, "type": type, "conversation_id": conversation_id, "ts": now(), "data": dict(data)}


def event_frame(event: Event) -> dict[str, Any]:
    """A durable event as a frame."""
    return {
        "v": VERSION, "type": event.type, "conversation_id": event.conversation_id, "seq": event.seq,
        "epoch": event.epoch, "ts": event.ts, "data": event.data,
    }  # fmt: skip


PRIVATE = ("mood", "note", "passage_ids", "client_id")
"""Fields of an event's data that only the desk may read."""


def for_shopper(frame: dict[str, Any]) -> dict[str, Any]:
    """The frame without what only the desk may read."""
    return {**frame, "data": {key: value for key, value in frame["data"].items() if key not in PRIVATE}}


def language_of(locale: str | None, text: str = "") -> Language:
    """Chinese if the text has Han characters (a fifth of its letters), else English; locale where there is no text."""
    letters = [c for c in text if c.isalpha()]
    if letters:
        han = sum("\u4e00" <= c <= "\u9fff" for c in letters)
        return "zh" if han * 5 >= len(letters) else "en"
    return "zh" if (locale or "").lower().startswith("zh") else "en"
