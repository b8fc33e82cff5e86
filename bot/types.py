"""The words of the bot: frozen values that every floor shares.

Knows the standard library only. Nothing here does I/O or decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

Role = Literal["system", "user", "assistant"]
"""As in chat templates; `user` is the shopper, `assistant` the bot or a human agent."""

Outcome = Literal["answered", "quoted", "abstained", "handed_off", "relayed", "cancelled"]
"""How a turn ended: exactly one of these."""

Arrival = Literal["waits", "relayed", "known"]
"""What became of a shopper's message: it waits for its turn, went to the human agent, or stood in the log already."""

Reason = Literal["angry", "asked_for_person", "engine_failed", "abstained_twice", "returned_to_queue"]
"""Why a conversation was escalated."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as a chat template sees it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Mood:
    """What the sentiment classifier reads in one message: probabilities that sum to 1."""

    calm: float
    unhappy: float
    angry: float

    @property
    def label(self) -> Literal["calm", "unhappy", "angry"]:
        """The most probable class."""
        if self.angry >= max(self.calm, self.unhappy):
            return "angry"
        return "unhappy" if self.unhappy >= self.calm else "calm"


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved piece of a document, or an order's facts written as one."""

    id: str
    """`<lang>/<category>/<name>#<heading>`, or `order:<number>`."""
    doc_id: str
    title: str
    heading: str
    text: str
    """Rules, one a line; a bullet's dash is kept."""
    language: Language
    url: str | None = None
    cite: bool = True
    """False for small talk, which is answered but not cited."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found for a query."""

    passage: Passage
    score: float
    """Probability that the passage answers the query, 0 to 1, calibrated on saved queries."""
    rules: tuple[float, ...] = ()
    """Probability that each line of the passage answers the query, 0 to 1; empty where they were not rated."""


@dataclass(frozen=True, slots=True)
class Citation:
    """What a sentence of an answer stands on."""

    n: int
    doc_id: str
    passage_id: str
    title: str
    quote: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order of a verified shopper; every text field is already written for reading."""

    number: str
    shopper_id: str
    facts: dict[Language, tuple[str, ...]]
    """Whole sentences, one fact each, per language."""


@dataclass(frozen=True, slots=True)
class Event:
    """A durable line of a conversation's log."""

    conversation_id: str
    seq: int
    """Grows by one within its conversation, from 1."""
    epoch: int
    ts: str
    """UTC, ISO 8601 with milliseconds and `Z`."""
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The head of a conversation: who owns it, and how far its log has grown."""

    id: str
    site: str
    locale: Language
    shopper_id: str | None
    """The subject of the shop's signed token; None is anonymous."""
    owner: str
    """`bot`, `queued`, `human:<agent id>` or `closed`."""
    epoch: int
    """Grows at every change of owner."""
    seq: int
    """The last event's; 0 is an empty log."""
    resume_hash: str
    """SHA-256 of the resume token, in hex; the token itself is never stored."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """A conversation that waits for a human agent, or is held by one."""

    conversation_id: str
    reason: str
    priority: int
    """Higher is served sooner: 2 angry, 1 asked for a person, 0 the rest."""
    waiting_since: float
    """Unix seconds; kept when a conversation comes back to the queue."""
    summary: str
    """At most three lines."""
    last_question: str
    mood_trace: tuple[float, ...] = ()
    """Anger of each shopper message that the bot read, 0 to 1, oldest first."""
    passage_ids: tuple[str, ...] = ()
    """What the bot showed or read last."""
    agent_id: str | None = None
    lease_until: float | None = None
    """Unix seconds; None while nobody holds it."""
    locale: Language = "en"
    note: str = ""
    """What the human agent wrote who gave it back to the queue; never shown to the shopper."""
    agent_name: str | None = None
    """Of the human agent who holds it, as shoppers see it."""


@dataclass(frozen=True, slots=True)
class Release:
    """What produced an answer: base, adapter, templates, index generation and rules, as one id."""

    base: str
    adapter: str
    fingerprint: str
    index: str
    rules: str
    id: str = field(default="")
