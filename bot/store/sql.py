"""The store: the log and the queue in SQLite or PostgreSQL; every method is one transaction.

Knows neither frames nor stories. The statements stand in log.py, turns.py, queue.py and codes.py,
the tables in schema.py, how a transaction is run in sqlite.py and postgres.py.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from bot.errors import SettingsError
from bot.store import codes, log, migrations, queue, turns
from bot.store.postgres import Postgres
from bot.store.sqlite import Sqlite
from bot.types import Arrival, Conversation, Event, Handoff, Language

T = TypeVar("T")


class Database(Protocol):
    """What runs work in transactions: Sqlite or Postgres."""

    alone: bool
    """Whether no other process had the database open when this one opened it."""

    def time(self, connection: Connection) -> float:
        """Unix seconds, on a clock that all who use the database share."""
        ...

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction on the caller's thread."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """A transaction; committed and synced on return."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Statements that only read, each of which sees all that was committed before it."""
        ...

    def close(self) -> None:
        """Close before any work was given."""
        ...

    async def aclose(self) -> None:
        """Finish what runs, then close."""
        ...


def steady_clock(now: float) -> Callable[[], float]:
    """Unix seconds from `now` on, which no change of the system's clock can move while the program runs.

    The time that the machine sleeps counts too, where the system tells (Linux).
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    start = now - time.clock_gettime(clock)
    return lambda: start + time.clock_gettime(clock)


def open_store(url: str, *, now: Callable[[], float] | None = None) -> SqlStore:
    """Connect, bring the tables up to date, and check that a commit is durable there.

    Args:
        url: `sqlite:///folder/file.db` or `postgresql://user:password@host/database`.
        now: a clock for tests; Unix seconds.

    Raises:
        SettingsError: the address is none, or the database is set up so that commits may be lost.
        StoreError: the database cannot be reached or written; says what to do.
    """
    database = _connect(_parse(url))
    try:
        with database.begin() as connection:
            migrations.upgrade(connection)
            if database.alone:
                turns.free_all(connection)
            now = now or steady_clock(database.time(connection))
    except BaseException:
        database.close()
        raise
    return SqlStore(database, now)


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError(  # without the address, which may hold a password
            "The database's address cannot be read; write `sqlite:///folder/file.db` or "
            "`postgresql://user:password@host/database`."
        ) from None


def _connect(url: URL) -> Database:
    match url.get_backend_name():
        case "sqlite":
            return Sqlite(url.set(drivername="sqlite"))
        case "postgresql" | "postgres":
            return Postgres(url.set(drivername="postgresql+psycopg"))
        case other:
            raise SettingsError(f"The store cannot use {other!r}; use `sqlite:///…` or `postgresql://…`.")


class SqlStore:
    """The `Store` of bot/protocols.py, where each method is described."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._me = secrets.token_hex(8)  # holds this process's turns

    async def create(self, *, site: str, locale: Language, shopper_id: str | None, resume_hash: str) -> Conversation:
        return await self._write(log.create, site=site, locale=locale, shopper_id=shopper_id, resume_hash=resume_hash)

    async def conversation(self, conversation_id: str) -> Conversation:
        return await self._database.read(lambda c: log.conversation(c, conversation_id))

    async def events(self, conversation_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        return await self._database.read(lambda c: log.read(c, conversation_id, after=after, limit=limit))

    async def read(
        self, conversation_id: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[Conversation, list[Event]]:
        return await self._database.read(
            lambda c: (log.conversation(c, conversation_id), log.read(c, conversation_id, after=after, limit=limit))
        )

    async def append(
        self, conversation_id: str, type: str, data: dict[str, Any], *, epoch: int | None = None
    ) -> Event:
        return await self._write(log.append, conversation_id, type, data, epoch=epoch)

    async def append_message(
        self, conversation_id: str, *, client_id: str, message_id: str, text: str
    ) -> tuple[Event, Arrival]:
        return await self._write(
            log.append_message, conversation_id, client_id=client_id, message_id=message_id, text=text
        )

    async def append_reply(self, conversation_id: str, *, client_id: str, data: dict[str, Any], epoch: int) -> Event:
        return await self._write(log.append_reply, conversation_id, client_id=client_id, data=data, epoch=epoch)

    async def complete(
        self, conversation_id: str, *, message_id: str, outcome: str, type: str, data: dict[str, Any], epoch: int
    ) -> Event | None:
        return await self._write(
            turns.complete, conversation_id, me=self._me, message_id=message_id, outcome=outcome, type=type,
            data=data, epoch=epoch,
        )  # fmt: skip

    async def settle(self, conversation_id: str, *, message_id: str, outcome: str) -> bool:
        return await self._database.write(
            lambda c: turns.settle(c, conversation_id, me=self._me, message_id=message_id, outcome=outcome)
        )

    async def take_turn(self, conversation_id: str, *, lease_s: float) -> str | None:
        return await self._write(turns.take, conversation_id, me=self._me, lease_s=lease_s)

    async def leave_turn(self, conversation_id: str, *, message_id: str) -> None:
        await self._database.write(lambda c: turns.leave(c, conversation_id, me=self._me, message_id=message_id))

    async def hold_turns(self, *, lease_s: float, most: int) -> list[tuple[str, str]]:
        return await self._write(turns.hold, me=self._me, lease_s=lease_s, most=most)

    async def unfinished(self) -> list[tuple[str, str]]:
        return await self._database.read(turns.unfinished)

    async def hand_off(
        self, conversation_id: str, *, epoch: int, handoff: Handoff, text: str, message_id: str | None
    ) -> tuple[Event | None, bool]:
        return await self._write(
            queue.hand_off, conversation_id, me=self._me, epoch=epoch, handoff=handoff, text=text,
            message_id=message_id,
        )  # fmt: skip

    async def queue(self) -> list[Handoff]:
        return await self._database.read(lambda c: queue.queue(c, now=self._now()))

    async def claim(
        self, conversation_id: str, *, agent_id: str, name: str, capacity: int, lease_s: float, text: str
    ) -> Conversation:
        return await self._write(
            queue.claim, conversation_id, agent_id=agent_id, name=name, capacity=capacity, lease_s=lease_s, text=text
        )

    async def renew(self, agent_id: str, *, lease_s: float) -> None:
        await self._write(queue.renew, agent_id, lease_s=lease_s)

    async def release(
        self, conversation_id: str, *, agent_id: str, to: str, text: str, note: str = "", epoch: int | None = None
    ) -> Conversation:
        return await self._write(
            queue.release, conversation_id, agent_id=agent_id, to=to, text=text, note=note, epoch=epoch
        )

    async def expire(self, *, text: dict[Language, str]) -> list[str]:
        return await self._write(queue.expire, text=text)

    async def conversations_held(self, agent_id: str) -> list[str]:
        return await self._database.read(lambda c: queue.conversations_held(c, agent_id))

    async def spend_code(self, code_id: str, *, lifetime_s: float) -> bool:
        return await self._write(codes.spend, code_id, lifetime_s=lifetime_s)

    async def ping(self) -> None:
        await self._write(log.ping)

    async def aclose(self) -> None:
        await self._database.aclose()

    async def _write(self, work: Callable[..., T], *args: Any, **named: Any) -> T:
        """Do the work in a transaction, with the time at which it begins."""
        return await self._database.write(lambda c: work(c, *args, now=self._now(), **named))
