"""The queue's statements: hand off, claim, renew, release, expire.

Each function runs inside a transaction that the caller began. The rules stand in bot/handoff.py.
Locks are taken in one order, so that nobody waits in a circle: human agent, conversation, handoff.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, text, update

from bot import handoff as rules
from bot.errors import AlreadyClaimed, AtCapacity, NotQueued
from bot.store import log, turns
from bot.store.schema import conversations, handoffs
from bot.types import Conversation, Event, Handoff, Language

_OPEN = handoffs.c.closed_at.is_(None)


def _handoff(row: Row[Any]) -> Handoff:
    facts = row.facts
    return Handoff(
        conversation_id=row.conversation_id, reason=row.reason, priority=row.priority,
        waiting_since=row.waiting_since, summary=facts["summary"], last_question=facts["last_question"],
        mood_trace=tuple(facts["mood_trace"]), passage_ids=tuple(facts["passage_ids"]),
        agent_id=row.agent_id, lease_until=row.lease_until, locale=row.locale, note=facts.get("note", ""),
        agent_name=row.agent_name,
    )  # fmt: skip


def _open(c: Connection, conversation_id: str) -> Row[Any] | None:
    return c.execute(select(handoffs).where(handoffs.c.conversation_id == conversation_id, _OPEN)).first()


def _change_owner(
    c: Connection, head: Conversation, owner: str, *, now: float, reason: str, text: str,
    joined: str | None = None, left: str | None = None,
) -> tuple[Conversation, list[Event]]:  # fmt: skip
    """Write `agent.left`, `owner.changed`, `agent.joined`, `csat.requested`, as far as they apply, under the next epoch."""
    changed = {"owner": owner, "epoch": head.epoch + 1, "reason": reason, "text": text}
    entries: list[tuple[str, dict[str, Any]]] = [("owner.changed", changed)]
    if left is not None:
        entries.insert(0, ("agent.left", {"name": left}))
    if joined is not None:
        entries.append(("agent.joined", {"name": joined}))
    if owner == rules.CLOSED:
        entries.append(("csat.requested", {"about": "human"}))
    events = log.write(c, head, *entries, now=now, owner=owner)
    return replace(head, owner=owner, epoch=head.epoch + 1, seq=events[-1].seq), events


def hand_off(
    c: Connection, conversation_id: str, *, now: float, me: str, epoch: int, handoff: Handoff, text: str,
    message_id: str | None,
) -> tuple[Event | None, bool]:  # fmt: skip
    """Queue the conversation and end the turn that caused it; or find that it is queued or held already.

    None if neither, and the turn has ended already: it has its one outcome.
    """
    head = log.lock(c, conversation_id)
    ends = message_id is None or turns.settle(c, conversation_id, me=me, message_id=message_id, outcome="handed_off")
    if (row := _open(c, conversation_id)) is not None:
        return log.read(c, conversation_id, after=row.opened_seq - 1, limit=1)[0], False
    if not ends:
        return None, False
    log.must_be_current(head, epoch)
    _, (event,) = _change_owner(c, head, rules.QUEUED, now=now, reason=handoff.reason, text=text)
    facts = {
        "summary": handoff.summary, "last_question": handoff.last_question,
        "mood_trace": handoff.mood_trace, "passage_ids": handoff.passage_ids,
    }  # fmt: skip
    c.execute(
        insert(handoffs).values(
            conversation_id=conversation_id, reason=handoff.reason, priority=handoff.priority,
            waiting_since=handoff.waiting_since, locale=handoff.locale, facts=facts, opened_seq=event.seq,
        )
    )  # fmt: skip
    return event, True


def queue(c: Connection, *, now: float) -> list[Handoff]:
    """Who waits and who is held, in the order of service."""
    return rules.order([_handoff(row) for row in c.execute(select(handoffs).where(_OPEN))], now)


def claim(
    c: Connection, conversation_id: str, *, now: float, agent_id: str, name: str, capacity: int, lease_s: float,
    text: str,
) -> Conversation:  # fmt: skip
    """Hold a conversation that waits, or hold on to one that is held already."""
    until = rules.lease_until(now, lease_s)
    _lock_agent(c, agent_id)
    head = log.lock(c, conversation_id)
    row = _open(c, conversation_id)
    if row is None:
        raise NotQueued(f"Conversation {conversation_id} does not wait for a human agent; `{head.owner}` has it.")
    if row.agent_id == agent_id:
        c.execute(update(handoffs).where(handoffs.c.id == row.id).values(lease_until=until))
        return head
    if row.agent_id is not None:
        raise AlreadyClaimed(row.agent_id)
    held = c.execute(select(func.count()).select_from(handoffs).where(handoffs.c.agent_id == agent_id, _OPEN))
    if not rules.has_room(held.scalar_one(), capacity):
        raise AtCapacity(f"{agent_id} holds {capacity} conversations, as many as allowed; release one first.")
    won = c.execute(
        update(handoffs)
        .where(handoffs.c.id == row.id, handoffs.c.agent_id.is_(None), _OPEN)
        .values(agent_id=agent_id, agent_name=name, lease_until=until)
    )
    if not won.rowcount:  # cannot be while the conversation is locked
        raise AlreadyClaimed("another human agent")
    return _change_owner(c, head, rules.owned_by(agent_id), now=now, reason="claimed", text=text, joined=name)[0]


def _lock_agent(c: Connection, agent_id: str) -> None:
    """Count and claim as one: SQLite has one writer anyway, PostgreSQL is asked for a lock on the agent's name."""
    if c.dialect.name == "postgresql":
        c.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:agent, 0))"), {"agent": agent_id})


def renew(c: Connection, agent_id: str, *, now: float, lease_s: float) -> None:
    """Lengthen every lease of this human agent."""
    mine = select(handoffs.c.id).where(handoffs.c.agent_id == agent_id, _OPEN)
    mine = mine.order_by(handoffs.c.conversation_id).with_for_update()
    until = rules.lease_until(now, lease_s)
    c.execute(update(handoffs).where(handoffs.c.id.in_(mine.scalar_subquery())).values(lease_until=until))


def release(
    c: Connection, conversation_id: str, *, now: float, agent_id: str, to: str, text: str, note: str, epoch: int | None
) -> Conversation:
    """Give a held conversation to the bot, back to its place in the queue, or close it."""
    owner = rules.owner_after(to)
    head = log.lock(c, conversation_id)
    row = _open(c, conversation_id)
    if row is None or row.agent_id is None:
        raise NotQueued(f"Conversation {conversation_id} is held by no human agent; `{head.owner}` has it.")
    if row.agent_id != agent_id:
        raise AlreadyClaimed(row.agent_id)
    log.must_be_current(head, epoch)
    c.execute(
        update(handoffs)
        .where(handoffs.c.id == row.id)
        .values(
            {"facts": row.facts | {"note": note}}
            | (_WAITS if owner == rules.QUEUED else {"closed_at": now, "lease_until": None})
        )
    )
    reason = {rules.QUEUED: "returned_to_queue", rules.CLOSED: "closed"}.get(owner, "released")
    return _change_owner(c, head, owner, now=now, reason=reason, text=text, left=row.agent_name)[0]


_WAITS: dict[str, Any] = {"agent_id": None, "agent_name": None, "lease_until": None}


def expire(c: Connection, *, now: float, text: dict[Language, str]) -> list[str]:
    """Return conversations whose lease has run out to their place in the queue; their ids.

    One whose row is being written at this moment is left for the next time.
    """
    until = handoffs.c.lease_until
    over = c.execute(
        select(handoffs.c.id, handoffs.c.conversation_id, handoffs.c.agent_name)
        .join(conversations)
        .where(_OPEN, handoffs.c.agent_id.is_not(None), or_(until <= now, until > now + rules.MAX_LEASE_S))
        .order_by(handoffs.c.conversation_id)
        .with_for_update(skip_locked=True)
    ).all()
    for row in over:
        head = log.lock(c, row.conversation_id)
        c.execute(update(handoffs).where(handoffs.c.id == row.id).values(_WAITS))
        said = text[head.locale]
        _change_owner(c, head, rules.QUEUED, now=now, reason="returned_to_queue", text=said, left=row.agent_name)
    return [row.conversation_id for row in over]


def conversations_held(c: Connection, agent_id: str) -> list[str]:
    """Ids of what this human agent holds, the longest waiting first."""
    mine = select(handoffs.c.conversation_id).where(handoffs.c.agent_id == agent_id, _OPEN)
    return list(c.execute(mine.order_by(handoffs.c.waiting_since, handoffs.c.id)).scalars())
