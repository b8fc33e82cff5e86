"""The turns' statements: whose turn a message's answer is, and how it ended.

Each function runs inside a transaction that the caller began, on an open connection.
A turn is held by one process for a time: of each conversation the one of its oldest message without
an outcome. Who held it once and lost it to another cannot end it any more.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from bot.errors import LeaseLost, NotFound
from bot.handoff import MAX_LEASE_S
from bot.store import log
from bot.store.schema import messages
from bot.types import Event

_UNFINISHED = messages.c.outcome.is_(None)
_THIS = and_(messages.c.conversation_id == bindparam("this"), messages.c.message_id == bindparam("message"))
_MINE = or_(messages.c.holder.is_(None), messages.c.holder == bindparam("me"))
_OVER = or_(
    messages.c.lease_until <= bindparam("now"),
    messages.c.lease_until > bindparam("now") + MAX_LEASE_S,  # given by a clock that has since been set back
)
_earlier = messages.alias("earlier")
_FIRST = ~(
    select(_earlier.c.seq)
    .where(
        _earlier.c.conversation_id == messages.c.conversation_id,
        _earlier.c.seq < messages.c.seq,
        _earlier.c.outcome.is_(None),
    )
    .exists()
)

# Built once: building them anew takes longer than running them.
_NEXT = (
    select(messages.c.message_id, messages.c.holder, messages.c.lease_until)
    .where(messages.c.conversation_id == bindparam("this"), _UNFINISHED)
    .order_by(messages.c.seq)
    .limit(1)
    .with_for_update()
)
_TAKE = update(messages).where(_THIS, _UNFINISHED, or_(_MINE, _OVER)).values(
    holder=bindparam("me"), lease_until=bindparam("until")
)  # fmt: skip
_LEAVE = (
    update(messages)
    .where(_THIS, _UNFINISHED, messages.c.holder == bindparam("me"))
    .values(holder=None, lease_until=None)
)
_RENEW = (
    update(messages)
    .where(messages.c.holder == bindparam("me"), _UNFINISHED)
    .values(lease_until=bindparam("until"))
    .returning(messages.c.conversation_id, messages.c.message_id)
)
_FREE = (
    select(messages.c.conversation_id, messages.c.message_id)
    .where(_UNFINISHED, _FIRST, or_(messages.c.holder.is_(None), and_(messages.c.holder != bindparam("me"), _OVER)))
    .order_by(messages.c.sent_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_SETTLE = update(messages).where(_THIS, _UNFINISHED, _MINE).values(outcome=bindparam("ended"))
_OUTCOME = select(messages.c.outcome, messages.c.holder).where(_THIS)


def take(c: Connection, conversation_id: str, *, now: float, me: str, lease_s: float) -> str | None:
    """Hold the turn of the conversation's oldest message without an outcome, or hold it for longer; the message's id.

    None if there is no such message, or another process holds its turn.
    """
    row = c.execute(_NEXT, {"this": conversation_id}).first()
    if row is None:
        return None
    hold = {"this": conversation_id, "message": row.message_id, "now": now, "me": me, "until": now + lease_s}
    return row.message_id if c.execute(_TAKE, hold).rowcount else None


def leave(c: Connection, conversation_id: str, *, me: str, message_id: str) -> None:
    """Hold this turn no longer, if it is held by `me`."""
    c.execute(_LEAVE, {"this": conversation_id, "message": message_id, "me": me})


def hold(c: Connection, *, now: float, me: str, lease_s: float, most: int) -> list[tuple[str, str]]:
    """Hold every turn for longer that is held by `me`, and take at most `most` that nobody holds, the oldest first.

    Returns:
        (conversation id, message id) of all that are held now. A turn that somebody else takes at this
        moment is left to them.
    """
    held = [tuple(row) for row in c.execute(_RENEW, {"me": me, "until": now + lease_s})]
    free = c.execute(_FREE, {"me": me, "now": now, "most": most}).all() if most else []
    for row in free:
        mine = {"this": row.conversation_id, "message": row.message_id, "now": now, "me": me, "until": now + lease_s}
        c.execute(_TAKE, mine)
    return [*held, *(tuple(row) for row in free)]


def free_all(c: Connection) -> None:
    """Nobody holds a turn any more: for a start that knows that all who held one are dead."""
    c.execute(
        update(messages).where(_UNFINISHED, messages.c.holder.is_not(None)).values(holder=None, lease_until=None)
    )


def settle(c: Connection, conversation_id: str, *, me: str, message_id: str, outcome: str) -> bool:
    """Give a shopper's message its outcome; False if it has one already.

    Raises:
        NotFound: there is no such message.
        LeaseLost: another process holds its turn.
    """
    this = {"this": conversation_id, "message": message_id}
    if c.execute(_SETTLE, {**this, "me": me, "ended": outcome}).rowcount:
        return True
    row = c.execute(_OUTCOME, this).first()
    if row is None:
        raise NotFound(f"Conversation {conversation_id} has no shopper message {message_id}.")
    if row.outcome is None:
        raise LeaseLost(f"The turn of message {message_id} is held by {row.holder} now.")
    return False


def complete(
    c: Connection,
    conversation_id: str,
    *,
    now: float,
    me: str,
    message_id: str,
    outcome: str,
    type: str,
    data: dict[str, Any],
    epoch: int,
) -> Event | None:
    """End a turn with its one outcome and one event; None if it has ended already. Raises as `settle` does."""
    head = log.lock(c, conversation_id)
    if not settle(c, conversation_id, me=me, message_id=message_id, outcome=outcome):
        return None
    log.must_be_current(head, epoch)  # undoes the outcome too
    return log.write(c, head, (type, data), now=now)[0]


def unfinished(c: Connection) -> list[tuple[str, str]]:
    """(conversation id, message id) of shopper messages without an outcome, oldest first."""
    rows = c.execute(
        select(messages.c.conversation_id, messages.c.message_id)
        .where(_UNFINISHED)
        .order_by(messages.c.sent_at, messages.c.conversation_id, messages.c.seq)
    )
    return [(conversation_id, message_id) for conversation_id, message_id in rows]
