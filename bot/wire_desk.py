"""Every frame that the server sends to human agents, as a Pydantic model, where it is another than a shopper's.

Only describes, as wire_sent.py does.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from bot.types import Language, Reason
from bot.wire_sent import (
    TO_BOTH,
    Ack,
    Aside,
    Data,
    Durable,
    Epoch,
    Error,
    MessageCompleted,
    MessageCreated,
    Passing,
    Ping,
    ResyncRequired,
    frames,
    left_out,
)

Probability = Annotated[float, Field(ge=0, le=1)]
DeskOwner = Annotated[str, Field(pattern="^(bot|queued|closed|human:.+)$")]
"""With the human agent's id, which shoppers are not told."""


class DeskWelcome(Data):
    """First frame after `hello`; the queue, and the logs of the conversations that you hold, follow."""

    agent_id: str
    name: str
    capacity: int
    """Conversations that you may hold."""


class DeskError(Error):
    """Why a frame was not carried out, or why the socket is about to be closed."""

    agent_id: str = left_out()
    """With `already_claimed`: who has it."""


class DeskMessageCreated(MessageCreated):
    """A message of the shopper or of a human agent."""

    client_id: str = left_out()
    """As the human agent sent it."""


class Mood(Data):
    """What the classifier reads in the shopper's message: probabilities that sum to 1."""

    calm: Probability
    unhappy: Probability
    angry: Probability


class DeskMessageCompleted(MessageCompleted):
    """An answer to its end, with what the bot read."""

    passage_ids: list[str]
    mood: Mood = left_out()
    """Of the shopper's message; left out if the answer was stopped before it was read."""


class DeskOwnerChanged(Data):
    """Somebody else has the conversation now."""

    owner: DeskOwner
    epoch: Epoch
    reason: Reason | Literal["claimed", "released", "closed"]
    text: str
    """What the shopper is told."""


class ShopperTyping(Data):
    """The shopper writes, or has stopped."""

    on: bool
    role: Literal["shopper"]


class Changed(Data):
    """What you asked for is done."""

    conversation_id: str
    owner: DeskOwner
    epoch: Epoch


class _Place(Data):
    conversation_id: str
    reason: Reason
    priority: Literal[0, 1, 2]
    """2 angry, 1 asked for a person, 0 the rest."""
    waiting_since: float
    """Unix seconds."""
    summary: str
    """At most three lines."""
    last_question: str
    mood_trace: list[Probability]
    """Anger of each message that the bot read, oldest first."""
    passage_ids: list[str]
    """What the bot showed or read last."""
    locale: Language
    note: str
    """Of the human agent who gave it back."""


class Waiting(_Place):
    """A conversation that waits."""

    position: Annotated[int, Field(ge=1)]
    agent_id: None
    agent_name: None
    lease_until: None


class Held(_Place):
    """A conversation that a human agent holds."""

    agent_id: str
    agent_name: str | None
    lease_until: float
    """Unix seconds; then it waits again, unless the human agent is heard of."""


class QueueSnapshot(Data):
    """Who waits, in the order of service, and who is held; told again at each change."""

    waiting: list[Waiting]
    """The first of them."""
    in_all: int = Field(ge=0)
    """How many wait."""
    held: list[Held]
    now: float
    """Unix seconds, on the server's clock."""


TO_AGENTS: dict[str, type[BaseModel]] = {
    **frames(
        Aside, {"welcome": DeskWelcome, "queue.snapshot": QueueSnapshot, "ping": Ping, "error": DeskError}
    ),
    **frames(
        Passing,
        {"ack": Ack, "claimed": Changed, "released": Changed, "closed": Changed, "typing": ShopperTyping,
         "resync_required": ResyncRequired},
    ),
    **frames(
        Durable,
        {"message.created": DeskMessageCreated, "message.completed": DeskMessageCompleted,
         "owner.changed": DeskOwnerChanged, **TO_BOTH},
    ),
}  # fmt: skip
