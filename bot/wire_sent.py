"""Every frame that the server sends to shoppers, as a Pydantic model; wire_desk.py has those to human agents.

Only describes: frames are built as plain dicts where they are sent, and the tests hold each one that they
receive to its model (tests/told.py). What is read is in wire.py; asyncapi.py makes the documents of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from bot.types import Language, Reason

Epoch = Annotated[int, Field(ge=1)]
Owner = Literal["bot", "queued", "human", "closed"]


def left_out() -> Any:
    """A field that is not there where there is nothing to say; it is never null."""
    return Field(default_factory=lambda: None)


class Data(BaseModel):
    """What a frame says."""

    model_config = ConfigDict(use_attribute_docstrings=True)


# Envelopes


class Envelope(BaseModel):
    """What every frame has, besides its type and its data."""

    v: Literal[1]
    ts: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", description="UTC.")


class Passing(Envelope):
    """Outside the log."""

    conversation_id: str


class Aside(Envelope):
    """Outside the log, and of no conversation where that is null."""

    conversation_id: str | None


class Durable(Envelope):
    """An event of the log."""

    conversation_id: str
    seq: int = Field(ge=1, description="Grows by one within its conversation, from 1.")
    epoch: Epoch


def frames(envelope: type[Envelope], data: Mapping[str, type[Data]]) -> dict[str, type[BaseModel]]:
    """The frame of each type: its data in an envelope."""

    def frame(type: str, said: type[Data]) -> type[BaseModel]:
        fields: dict[str, Any] = {"type": (Literal[type], ...), "data": (said, ...)}
        return create_model(type, __base__=envelope, __doc__=said.__doc__, **fields)

    return {type: frame(type, said) for type, said in data.items()}


# To both


class Ack(Data):
    """The message stands in the log; one sent twice is acknowledged twice, with the same values."""

    client_id: str
    message_id: str
    seq: int


class Ping(Data):
    """Answer with `pong`; two in a row without any frame from you, and the server closes the socket."""

    t: float
    """Unix seconds."""


class ResyncRequired(Data):
    """You claim to know more than the log holds: forget it. It follows from its beginning."""

    from_seq: Literal[0]


class Error(Data):
    """Why a frame was not carried out, or why the socket is about to be closed."""

    code: Literal[
        "bad_json", "bad_frame", "unknown_type", "too_large", "too_fast", "try_later", "closed", "not_found",
        "idempotency_conflict", "already_claimed", "not_queued", "at_capacity", "stale_epoch",
    ]  # fmt: skip
    message: str
    """A whole English sentence."""
    retryable: bool
    """Whether the same frame may succeed later."""
    request_id: str
    field: str = left_out()
    """The field at fault."""
    client_id: str = left_out()
    """Of the message that was refused."""


class AgentJoined(Data):
    """A human agent has the conversation now."""

    name: str


class AgentLeft(Data):
    """The human agent has it no more."""

    name: str


class CsatRequested(Data):
    """The shopper is asked how content they are."""

    about: Literal["human"]


class CsatGiven(Data):
    """What the shopper answered."""

    score: Annotated[int, Field(ge=1, le=5)]
    text: str = left_out()


class FeedbackGiven(Data):
    """The shopper's thumb on an answer."""

    message_id: str
    rating: Literal["up", "down"]
    reason: str = left_out()
    text: str = left_out()


# To shoppers


class Welcome(Data):
    """First frame after `hello`: the conversation as it is now. What the log holds after `last_seq` follows."""

    conversation_id: str
    resume_token: str | None
    """Opens this conversation again; null if it was opened by its shopper's own token."""
    seq: int
    """The last event's; 0 is an empty log."""
    owner: Owner
    epoch: Epoch
    locale: Language
    greeting: str
    starters: list[str]
    """Questions to begin with."""


class MessageCreated(Data):
    """A message of the shopper or of a human agent."""

    message_id: str
    role: Literal["shopper", "human"]
    text: str
    author: str = left_out()
    """The human agent's name."""


class MessageStarted(Data):
    """An answer begins."""

    message_id: str
    """The answer's."""


class MessageDelta(Data):
    """One or more whole sentences of an answer that passed the evidence gate."""

    message_id: str
    index: Annotated[int, Field(ge=0)]
    """Grows by one within an answer, from 0."""
    text: str


class Citation(Data):
    """What a sentence of an answer stands on."""

    n: Annotated[int, Field(ge=1)]
    """As `[n]` in the text."""
    doc_id: str
    passage_id: str
    title: str
    quote: str
    url: str = left_out()


class MessageCompleted(Data):
    """An answer to its end."""

    message_id: str
    reply_to: str
    """The shopper's message."""
    text: str
    citations: list[Citation]
    outcome: Literal["answered", "quoted", "abstained", "truncated"]
    """`truncated` was stopped: what was shown is kept."""
    release: str
    """Id of all that shaped the answer."""


class Status(Data):
    """What the bot does now."""

    state: Literal["searching", "typing"]
    ttl_s: int
    """It is over after so long, whatever comes."""


class OwnerChanged(Data):
    """Somebody else has the conversation now."""

    owner: Owner
    epoch: Epoch
    reason: Reason | Literal["claimed", "released", "closed"]
    text: str
    """What the shopper is told."""


class QueuePosition(Data):
    """Where the shopper stands in the queue; told again at each change."""

    position: Annotated[int, Field(ge=1)]
    eta_s: tuple[int, int] | None
    """From and to so many seconds; null while nobody is at the desk."""


class HumanTyping(Data):
    """The human agent writes, or has stopped."""

    on: bool
    role: Literal["human"]
    name: str


TO_BOTH = {
    "agent.joined": AgentJoined, "agent.left": AgentLeft, "csat.requested": CsatRequested, "csat.given": CsatGiven,
    "feedback.given": FeedbackGiven,
}  # fmt: skip
TO_SHOPPERS: dict[str, type[BaseModel]] = {
    **frames(Aside, {"error": Error}),
    **frames(
        Passing,
        {"welcome": Welcome, "ack": Ack, "message.started": MessageStarted, "message.delta": MessageDelta,
         "status": Status, "queue.position": QueuePosition, "typing": HumanTyping, "ping": Ping,
         "resync_required": ResyncRequired},
    ),
    **frames(
        Durable,
        {"message.created": MessageCreated, "message.completed": MessageCompleted, "owner.changed": OwnerChanged,
         **TO_BOTH},
    ),
}  # fmt: skip
