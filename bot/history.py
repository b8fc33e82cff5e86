"""What the log tells of a conversation when a turn begins, and how a turn's end is written there.

Pure: events in, values out; knows no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.types import Citation, Event, Message, Mood, Outcome


@dataclass(frozen=True)
class Told:
    """What the log tells of a conversation when a turn begins."""

    text: str
    history: tuple[Message, ...]
    questions: tuple[str, ...]
    """The shopper's messages, oldest first, this one last."""
    angers: tuple[float, ...]
    outcomes: tuple[Outcome, ...]
    """Of the turns since the last handoff."""
    handed_off_after: int
    """How many of `angers` came before the last handoff."""
    passage_ids: tuple[str, ...] = ()
    """What the last answer was read from."""


def read_log(events: Sequence[Event], message_id: str) -> Told:
    """What the log says up to the shopper's message `message_id`."""
    history: list[Message] = []
    questions: list[str] = []
    angers: list[float] = []
    outcomes: list[Outcome] = []
    handed_off_after, text = 0, ""
    passage_ids: tuple[str, ...] = ()
    for event in events:
        data = event.data
        if mood := data.get("mood"):
            angers.append(mood["angry"])
        match event.type:
            case "message.created" if data["role"] == "shopper":
                questions.append(data["text"])
                if data["message_id"] == message_id:
                    text = data["text"]
                    break
                history.append(Message("user", data["text"]))
            case "message.created" if data["role"] == "human":
                history.append(Message("assistant", data["text"]))
            case "message.completed":
                if data["text"]:  # Of one that was stopped in time nothing was said.
                    history.append(Message("assistant", data["text"]))
                outcomes.append(data["outcome"])
                passage_ids = tuple(data.get("passage_ids", ()))
            case "owner.changed" if data["owner"] != "bot":
                handed_off_after, outcomes = len(angers), []
    return Told(
        text, _in_turns(history), tuple(questions), tuple(angers), tuple(outcomes), handed_off_after, passage_ids
    )


def _in_turns(history: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbours of one role joined, beginning with the user, ending with the assistant, as chat templates want it."""
    joined: list[Message] = []
    for message in history:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, f"{joined[-1].content}\n{message.content}")
        elif joined or message.role == "user":
            joined.append(message)
    if joined and joined[-1].role == "user":
        joined.pop()
    return tuple(joined)


def citation_data(citation: Citation) -> dict[str, Any]:
    """A citation as it stands in an event."""
    return {
        "n": citation.n, "doc_id": citation.doc_id, "passage_id": citation.passage_id, "title": citation.title,
        "quote": citation.quote, **({"url": citation.url} if citation.url else {}),
    }  # fmt: skip


def mood_data(mood: Mood) -> dict[str, float]:
    """A mood as it stands in an event."""
    return {"calm": round(mood.calm, 4), "unhappy": round(mood.unhappy, 4), "angry": round(mood.angry, 4)}
