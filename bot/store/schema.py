"""The tables, for SQLite and PostgreSQL alike.

Read by the statements in log.py, turns.py, queue.py and codes.py; made and changed by migrations/, and a test
proves that the two agree. Free text stands in JSON columns, whose escapes carry every character
(PostgreSQL refuses a NUL in a text column).
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)  # fmt: skip

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("shopper_id", Text),
    Column("owner", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("resume_hash", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)
"""The head of each conversation; who holds its row's lock may write its log."""

events = Table(
    "events",
    metadata,
    Column("conversation_id", Text, ForeignKey("conversations.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("ts", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSON, nullable=False),
)
"""The log."""

messages = Table(
    "messages",
    metadata,
    Column("conversation_id", Text, ForeignKey("conversations.id"), primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("sent_at", Double, nullable=False),
    Column("outcome", Text),
    Column("holder", Text),
    Column("lease_until", Double),
    UniqueConstraint("conversation_id", "client_id"),
)
"""A shopper's messages; one row and one column, so one outcome at most. The text stands in `events` at `seq`.
A human agent's messages stand here too, `relayed`, so that one that is sent twice is one.

`holder` is the process that tells its turn, or told it last; from `lease_until` on another may."""

Index("ix_messages_unfinished", messages.c.sent_at, sqlite_where=messages.c.outcome.is_(None),
      postgresql_where=messages.c.outcome.is_(None))  # fmt: skip

handoffs = Table(
    "handoffs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("conversation_id", Text, ForeignKey("conversations.id"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("waiting_since", Double, nullable=False),
    Column("locale", Text, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("opened_seq", Integer, nullable=False),
    Column("agent_id", Text),
    Column("agent_name", Text),
    Column("lease_until", Double),
    Column("closed_at", Double),
)
"""What waits for a human agent, is held by one, or was; `facts` is what a human agent reads before claiming."""

Index("uq_handoffs_open", handoffs.c.conversation_id, unique=True,
      sqlite_where=handoffs.c.closed_at.is_(None), postgresql_where=handoffs.c.closed_at.is_(None))  # fmt: skip
Index("ix_handoffs_agent_id", handoffs.c.agent_id, sqlite_where=handoffs.c.closed_at.is_(None),
      postgresql_where=handoffs.c.closed_at.is_(None))  # fmt: skip

spent_codes = Table(
    "spent_codes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("until", Double, nullable=False),
)
"""One-time sign-in codes that were used; after `until` the code is too old anyway."""

health = Table(
    "health",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
)
"""One row, written to learn whether the database can be written."""
