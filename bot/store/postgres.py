"""PostgreSQL: a pool of connections, each used in a thread.

Knows no table. Work is a function of an open connection; it may be run again
when PostgreSQL undoes it to end a deadlock, so it changes nothing but the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError, StatementError

from bot.errors import SettingsError, StoreError

T = TypeVar("T")

CONNECTIONS = 8
"""Per process; PostgreSQL allows 100 in all unless told otherwise."""

SILENCE_S = 20.0
"""So long a statement is waited for, though the connection stands: longer than PostgreSQL itself lets one take."""

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


class _Connection(psycopg.Connection[Any]):
    """Gives up on a server that says nothing: one that hangs, or something between that does."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **named: Any) -> T:
        return super().wait(self._bounded(gen), *args, **named)

    def _bounded(self, steps: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        until = time.monotonic() + SILENCE_S
        try:
            ready = yield next(steps)
            while ready or time.monotonic() < until:
                ready = yield steps.send(ready)
        except StopIteration as end:
            return end.value
        self.pgconn.finish()
        raise psycopg.OperationalError(f"it says nothing for {SILENCE_S:g} s")


class Postgres:
    """One database.

    Raises:
        StoreError: it cannot be reached, or refuses.
    """

    alone = False
    """Others may have it open: that is what it is for."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = create_engine(
            url,
            hide_parameters=True,
            pool_size=CONNECTIONS,
            max_overflow=1,
            pool_timeout=10,
            pool_pre_ping=True,
            connect_args=_NETWORK | {"options": _options(url)},
        )
        event.listen(self._engine, "do_connect", lambda dialect, record, args, named: _Connection.connect(**named))
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="postgres")
        self._closed = False

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction on the caller's thread, for the start of the program.

        Raises:
            SettingsError: PostgreSQL is set up so that a commit may be lost.
        """
        try:
            with self._engine.begin() as connection:
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
        """Do the work in a transaction; returns once it is committed. Nothing is written if it raises."""
        return await self._in_thread(self._write, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do the work, each of whose statements sees all that was committed before it."""
        return await self._in_thread(self._read, work)

    def close(self) -> None:
        """Finish what runs, then close the connections."""
        self._closed = True
        self._threads.shutdown()
        self._engine.dispose()

    async def _in_thread(self, run: Callable[[Callable[[Connection], T]], T], work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StoreError("The store is closed; this program is going down.")
        return await asyncio.get_running_loop().run_in_executor(self._threads, run, work)

    def _write(self, work: Callable[[Connection], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                if attempt == ATTEMPTS or _sqlstate(error) not in _UNDONE:
                    raise self._explain(error) from None
        raise AssertionError("The last attempt returns or raises.")

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._autocommit.connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise self._explain(error) from None

    def _explain(self, error: SQLAlchemyError) -> BaseException:
        """What is wrong, and what to do; neither the password nor what was being written."""
        if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
            return error.orig or error  # a value that cannot be written: the caller's mistake
        place = f"PostgreSQL at {self._url.host or 'the local socket'}:{self._url.port or 5432}"
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
                return StoreError(f"{place} refused ({state}: {problem}). Nothing was written.")


def _sqlstate(error: SQLAlchemyError) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def _options(url: URL) -> str:
    given: Any = url.query.get("options", "")
    return " ".join([*(f"-c {name}={value}" for name, value in _SESSION.items()), given]).strip()
