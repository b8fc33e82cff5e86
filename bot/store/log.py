"""The log's statements: conversations and their events.

Each function runs inside a transaction that the caller began, on an open connection.
Who writes takes the lock on the conversation's row first (`lock`), so that `seq` has no gaps.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, text, update

from bot.errors import ConversationClosed, IdempotencyConflict, NotFound, StaleEpoch
from bot.handoff import BOT, CLOSED
from bot.store.schema import conversations, events, health, messages
from bot.types import Arrival, Conversation, Event, Language

_HEAD = [
    conversations.c[name] for name in ("id", "site", "locale", "shopper_id", "owner", "epoch", "seq", "resume_hash")
]

# Built once: building them anew takes longer than running them.
_READ_HEAD = select(*_HEAD).where(conversations.c.id == bindparam("this"))
_LOCK_HEAD = _READ_HEAD.with_for_update()
_ADVANCE = (
    update(conversations)
    .where(conversations.c.id == bindparam("this"), conversations.c.epoch == bindparam("believed"))
    .values(seq=bindparam("last"), epoch=bindparam("new_epoch"), owner=bindparam("new_owner"))
)
_ADD_CONVERSATION = insert(conversations)
_ADD_EVENT = insert(events)
# Word for word the same in SQLite and PostgreSQL.
_ADD_MESSAGE = text(
    "INSERT INTO messages (conversation_id, message_id, client_id, seq, sent_at, outcome) "
    "VALUES (:this, :message, :client, :seq, :now, :outcome) ON CONFLICT (conversation_id, client_id) DO NOTHING"
)
_READ_EVENTS = (
    select(events)
    .where(events.c.conversation_id == bindparam("this"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("most"))
)
_KNOWN = select(messages.c.seq).where(
    messages.c.conversation_id == bindparam("this"), messages.c.client_id == bindparam("client")
)


def create(
    c: Connection, *, now: float, site: str, locale: Language, shopper_id: str | None, resume_hash: str
) -> Conversation:
    """A new conversation; ids grow with time, so that neighbours lie together in the index."""
    id = f"c_{int(now * 1000):011x}{secrets.token_hex(8)}"
    head = Conversation(id, site, locale, shopper_id, BOT, 1, 0, resume_hash)
    c.execute(
        _ADD_CONVERSATION,
        {"id": id, "site": site, "locale": locale, "shopper_id": shopper_id, "owner": BOT, "epoch": 1, "seq": 0,
         "resume_hash": resume_hash, "created_at": now},
    )  # fmt: skip
    return head


def conversation(c: Connection, conversation_id: str) -> Conversation:
    """The head as it is now. Raises NotFound."""
    return _found(c.execute(_READ_HEAD, {"this": conversation_id}).first(), conversation_id)


def lock(c: Connection, conversation_id: str) -> Conversation:
    """The head, which nobody else changes until this transaction ends. Raises NotFound."""
    return _found(c.execute(_LOCK_HEAD, {"this": conversation_id}).first(), conversation_id)


def _found(row: Row[Any] | None, conversation_id: str) -> Conversation:
    if row is None:
        raise NotFound(f"There is no conversation {conversation_id}.")
    return Conversation(*row)


def must_be_current(head: Conversation, epoch: int | None) -> None:
    """Raises StaleEpoch if the writer's epoch is not the conversation's; None passes."""
    if epoch is not None and epoch != head.epoch:
        raise StaleEpoch(f"Conversation {head.id} is at epoch {head.epoch}; the writer believed in {epoch}.")


def write(
    c: Connection, head: Conversation, *entries: tuple[str, dict[str, Any]], now: float, owner: str | None = None
) -> list[Event]:
    """Append (type, data) entries to a locked conversation; with an `owner`, the epoch grows by one first."""
    epoch = head.epoch if owner is None else head.epoch + 1
    ts = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    written = [Event(head.id, seq, epoch, ts, type, data) for seq, (type, data) in enumerate(entries, head.seq + 1)]
    advance = {"this": head.id, "believed": head.epoch, "last": written[-1].seq, "new_epoch": epoch,
               "new_owner": owner or head.owner}  # fmt: skip
    if not c.execute(_ADVANCE, advance).rowcount:  # cannot be while the conversation is locked
        raise StaleEpoch(f"Conversation {head.id} is not at epoch {head.epoch} any more.")
    for e in written:
        c.execute(
            _ADD_EVENT,
            {"conversation_id": e.conversation_id, "seq": e.seq, "epoch": e.epoch, "ts": e.ts, "type": e.type,
             "data": e.data},
        )  # fmt: skip
    return written


def read(c: Connection, conversation_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
    """Events with a greater `seq`, in order; none alike for an unknown conversation."""
    rows = c.execute(_READ_EVENTS, {"this": conversation_id, "after": after, "most": limit})
    return [Event(*row) for row in rows]


def append(
    c: Connection, conversation_id: str, type: str, data: dict[str, Any], *, now: float, epoch: int | None
) -> Event:
    """Write one event."""
    head = lock(c, conversation_id)
    must_be_current(head, epoch)
    return write(c, head, (type, data), now=now)[0]


def append_message(
    c: Connection, conversation_id: str, *, now: float, client_id: str, message_id: str, text: str
) -> tuple[Event, Arrival]:
    """A shopper's message, or the one that was written first with this `client_id`; one not for the bot has ended."""
    head = lock(c, conversation_id)
    outcome = None if head.owner == BOT else "relayed"
    row = {"this": conversation_id, "message": message_id, "client": client_id, "seq": head.seq + 1, "now": now,
           "outcome": outcome}  # fmt: skip
    if head.owner == CLOSED or not c.execute(_ADD_MESSAGE, row).rowcount:
        return _first(c, conversation_id, client_id, text), "known"
    data = {"message_id": message_id, "role": "shopper", "text": text}
    (event,) = write(c, head, ("message.created", data), now=now)
    return event, outcome or "waits"


def append_reply(
    c: Connection, conversation_id: str, *, now: float, client_id: str, data: dict[str, Any], epoch: int
) -> Event:
    """A human agent's message, or the one that was written first with this `client_id`."""
    head = lock(c, conversation_id)
    row = {"this": conversation_id, "message": data["message_id"], "client": client_id, "seq": head.seq + 1,
           "now": now, "outcome": "relayed"}  # fmt: skip
    if not c.execute(_ADD_MESSAGE, row).rowcount:
        return _first(c, conversation_id, client_id, data["text"])
    must_be_current(head, epoch)  # undoes the row too
    return write(c, head, ("message.created", data), now=now)[0]


def _first(c: Connection, conversation_id: str, client_id: str, text: str) -> Event:
    """What was written with this `client_id`."""
    seq = c.execute(_KNOWN, {"this": conversation_id, "client": client_id}).scalar()
    if seq is None:
        raise ConversationClosed(f"Conversation {conversation_id} is closed; begin a new one.")
    first = read(c, conversation_id, after=seq - 1, limit=1)[0]
    if first.data["text"] != text:
        raise IdempotencyConflict(f"`client_id` {client_id!r} was used for another text; use a new one.")
    return first


def ping(c: Connection, *, now: float) -> None:
    """Write and read the row that is there for it."""
    c.execute(update(health).values(at=now).returning(health.c.at)).scalar_one()
