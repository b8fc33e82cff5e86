"""The queue's rules: who is served next, who owns a conversation, how long a claim lasts.

Pure: the store asks these rules inside its transactions and hands in the time.
A conversation goes bot -> queued -> human:<agent id> -> bot, queued or closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt

from bot.types import Handoff

BOT, QUEUED, CLOSED = "bot", "queued", "closed"
"""Owners of a conversation, besides a human agent."""

PRIORITY_STEP_S = 300.0
"""One step of priority is worth five minutes of waiting."""

MAX_LEASE_S = 3600.0
"""A lease that ends later than this was given by a clock that has since been set back."""

PICKUP_S = 60.0
"""Longest time that a free human agent is expected to take to claim."""

_HUMAN = "human:"
_PRIORITIES = {"angry": 2, "asked_for_person": 1}


def priority_of(reason: str) -> int:
    """How urgent a handoff is: 2 angry, 1 asked for a person, 0 the rest."""
    return _PRIORITIES.get(reason, 0)


def owned_by(agent_id: str) -> str:
    """The owner string of a conversation that this human agent holds."""
    return _HUMAN + agent_id


def held_by(owner: str) -> str | None:
    """The human agent who holds a conversation with this owner; None if nobody does."""
    return owner.removeprefix(_HUMAN) if owner.startswith(_HUMAN) else None


def owner_after(to: str) -> str:
    """The owner once a human agent gives a conversation `to` the bot, the queue, or closes it.

    Raises:
        ValueError: `to` is none of `bot`, `queue`, `closed`.
    """
    match to:
        case "bot":
            return BOT
        case "queue":
            return QUEUED
        case "closed":
            return CLOSED
    raise ValueError(f"A conversation cannot be released to {to!r}; use `bot`, `queue` or `closed`.")


def order(handoffs: Iterable[Handoff], now: float) -> list[Handoff]:
    """Who is served next: those who wait, then those who are held.

    Each step of priority counts as PRIORITY_STEP_S of waiting. So equals are served first come,
    first served; nobody is overtaken by one who came more than two steps later; and two
    who wait never change places as time passes.

    Args:
        now: a conversation that seems to wait since a later time counts as having just come.
    """

    def place(handoff: Handoff) -> tuple[bool, float, float, str]:
        since = min(handoff.waiting_since, now)
        return (handoff.agent_id is not None, since - handoff.priority * PRIORITY_STEP_S, since,
                handoff.conversation_id)  # fmt: skip

    return sorted(handoffs, key=place)


def position(ordered: Sequence[Handoff], conversation_id: str) -> int | None:
    """The place in the queue from 1, in what `order` returned; None if the conversation does not wait."""
    waiting = (handoff.conversation_id for handoff in ordered if handoff.agent_id is None)
    return next((place for place, waits in enumerate(waiting, 1) if waits == conversation_id), None)


def eta_s(position: int, *, slots: int, held: int, handle_s: float) -> tuple[int, int] | None:
    """Seconds until the conversation at `position` is claimed, as (low, high); None if nobody is at the desk.

    While every slot is taken, one comes free every `handle_s / slots` on average; the range is one
    standard deviation around the sum of as many such times as are needed (an Erlang distribution,
    the waiting time of an M/M/c queue).

    Args:
        position: from 1.
        slots: how many conversations the human agents at the desk may hold together.
        held: how many they hold now.
        handle_s: how long a human agent holds a conversation on average.
    """
    if slots <= 0:
        return None
    departures = max(0, position - max(0, slots - held))
    mean, spread = departures * handle_s / slots, sqrt(departures) * handle_s / slots
    return round(max(0.0, mean - spread)), round(mean + spread + PICKUP_S)


def lease_until(now: float, lease_s: float) -> float:
    """When a claim made or renewed now runs out.

    Raises:
        ValueError: `lease_s` is not between 0 and MAX_LEASE_S.
    """
    if not 0 < lease_s <= MAX_LEASE_S:
        raise ValueError(f"A lease of {lease_s:g} s cannot be given; choose more than 0 and at most {MAX_LEASE_S:g}.")
    return now + lease_s


def lease_over(until: float, now: float) -> bool:
    """Whether a claim has run out, also when the clock was set back after it was made."""
    return until <= now or until > now + MAX_LEASE_S


def has_room(held: int, capacity: int) -> bool:
    """Whether a human agent who holds so many conversations may claim one more."""
    return held < capacity
