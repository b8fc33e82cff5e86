"""PostgreSQL: a pool of connections that the event loop uses.

Knows no table. Work is a function of an open connection, run in a greenlet that lets the loop go on while
it waits for PostgreSQL. It may be run again (when PostgreSQL undoes it to end a deadlock, or a connection
turns out to be dead), so it changes nothing but the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, NullPool, create_engine, text
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.errors import SettingsError, StoreError

T = TypeVar("T")

CONNECTIONS = 8
"""Per process; PostgreSQL allows 100 in all unless told otherwise."""

PATIENCE_S = 20.0
"""So long work is waited for, whatever it waits for itself; PostgreSQL gives up on a statement after 15 s."""

ATTEMPTS = 5

_SESSION = {
    "lock_timeout": "5s",
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "15s",
}
_NETWORK = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # ms
}
_UNDONE = ("40001", "40P01")
"""Serialization failure, deadlock: the transaction was rolled back and may be tried again."""


class Postgres:
    """One database.

    Raises:
        StoreError: it cannot be reached, or refuses.
    """

    alone = False
    """Others may have it open: that is what it is for."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._options = {"hide_parameters": True, "connect_args": _NETWORK | {"options": _options(url)}}
        self._writing = create_async_engine(
            url, pool_size=CONNECTIONS, max_overflow=1, pool_timeout=10, **self._options
        )
        self._reading = self._writing.execution_options(isolation_level="AUTOCOMMIT")
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction on the caller's thread, for the start of the program.

        Raises:
            SettingsError: PostgreSQL is set up so that a commit may be lost.
        """
        try:
            with create_engine(self._url, poolclass=NullPool, **self._options).begin() as connection:
                for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                    if connection.execute(text(f"SHOW {setting}")).scalar_one() == "off":
                        raise SettingsError(
                            f"PostgreSQL runs with `{setting}=off`, which loses acknowledged messages in a power cut; "
                            f"set `{setting} = on` in postgresql.conf."
                        )
                yield connection
        except SQLAlchemyError as error:
            raise self._explain(error) from None

    def time(self, connection: Connection) -> float:
        """The server's clock: those of the machines around it may differ."""
        return connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do the work in a transaction; returns once it is committed.

        If it raises, nothing is written, unless the connection was lost during the commit.
        """
        return await self._done(self._writing, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do the work, each of whose statements sees all that was committed before it."""
        return await self._done(self._reading, work)

    def close(self) -> None:
        """Take no more work; for who has given it none yet."""
        self._closed = True

    async def aclose(self) -> None:
        """Finish what runs, then close the connections."""
        self._closed = True
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._writing.dispose()

    async def _done(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        """Wait for the work, which goes on though nobody may wait any more: what was begun is written."""
        if self._closed:
            raise StoreError("The store is closed; this program is going down.")
        task = asyncio.create_task(self._attempts(engine, work))
        self._running.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        if not done:
            task.cancel()
            raise StoreError(f"{self._place} does not answer within {PATIENCE_S:g} s; see what it waits for.")
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # Nobody may be there to hear it.

    async def _attempts(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            committing = False
            try:
                async with engine.connect() as connection:
                    result = await connection.run_sync(work)
                    committing = True
                    await connection.commit()
                    return result
            except SQLAlchemyError as error:
                # A connection that was dead before the commit has written nothing.
                again = _sqlstate(error) in _UNDONE or (_is_dead(error) and not committing)
                if attempt == ATTEMPTS or not again:
                    raise self._explain(error) from None
        raise AssertionError("The last attempt returns or raises.")

    @property
    def _place(self) -> str:
        return f"PostgreSQL at {self._url.host or 'the local socket'}:{self._url.port or 5432}"

    def _explain(self, error: SQLAlchemyError) -> BaseException:
        """What is wrong, and what to do; neither the password nor what was being written."""
        if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
            return error.orig or error  # a value that cannot be written: the caller's mistake
        place = self._place
        problem = str(getattr(error, "orig", None) or error).partition("\n")[0]
        if password := self._url.password:
            problem = problem.replace(password, "***")
        match _sqlstate(error):
            case "55P03" | "57014":
                return StoreError(f"{place} was too slow ({problem}); see what else runs there. Nothing was written.")
            case "25006":
                return StoreError(f"{place} is read-only; name the primary server. Nothing was written.")
            case "53100":
                return StoreError(f"{place} has a full disk; free some space. Nothing was written.")
            case "42501" | "28000" | "28P01":
                return StoreError(f"{place} refuses this user ({problem}); check the user, password and rights.")
            case None if not isinstance(error, DataError):
                return StoreError(f"{place} cannot be reached ({problem}); check that it runs, and the address.")
            case state:
                return StoreError(f"{place} refused ({state}: {problem}).")


def _sqlstate(error: SQLAlchemyError) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def _is_dead(error: SQLAlchemyError) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _options(url: URL) -> str:
    given: Any = url.query.get("options", "")
    return " ".join([*(f"-c {name}={value}" for name, value in _SESSION.items()), given]).strip()
