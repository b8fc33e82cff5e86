"""The one-time codes' statement: a code is spent once, also after a restart.

Runs inside a transaction that the caller began, on an open connection.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, text

from bot.store.schema import spent_codes

# Word for word the same in SQLite and PostgreSQL; of two at once the second waits, and finds the first.
_SPEND = text("INSERT INTO spent_codes (id, until) VALUES (:id, :until) ON CONFLICT DO NOTHING")


def spend(c: Connection, code_id: str, *, now: float, lifetime_s: float) -> bool:
    """Mark a code as used; False if it was already. Codes that are too old to be used are forgotten."""
    c.execute(delete(spent_codes).where(spent_codes.c.until < now))
    return bool(c.execute(_SPEND, {"id": code_id, "until": now + lifetime_s}).rowcount)
