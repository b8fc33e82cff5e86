"""Stores to test: SQLite in a file, and PostgreSQL in a schema of its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from bot.store.sql import SqlStore, open_store

POSTGRES = os.environ.get("SHOPTALK_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test")

NewStore = Callable[[], SqlStore]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def empty_schema() -> Iterator[str]:
    """The address of an empty schema in PostgreSQL, dropped afterwards; skips the test if there is none."""
    schema = f"test_{secrets.token_hex(6)}"
    engine = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
    except OperationalError as error:
        pytest.skip(f"No PostgreSQL ({str(error.orig).splitlines()[0]}); set SHOPTALK_TEST_POSTGRES.")
    url = make_url(POSTGRES).update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with empty_schema() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of each kind in turn."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'bot.db'}"


@pytest.fixture
async def new_store(url: str, clock: Clock) -> AsyncIterator[NewStore]:
    """Open the same database once more, as another process would."""
    async with AsyncExitStack() as stack:

        def new() -> SqlStore:
            store = open_store(url, now=clock)
            stack.push_async_exit(aclosing(store))
            return store

        yield new


@pytest.fixture
async def store(new_store: NewStore) -> SqlStore:
    return new_store()
