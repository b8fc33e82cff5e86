"""What only PostgreSQL can do wrong: it is elsewhere, and set up by others."""

from __future__ import annotations

import asyncio
import socket

import pytest
from sqlalchemy import create_engine, make_url, select, text

from bot.errors import SettingsError, StoreError
from bot.store import postgres as under_test
from bot.store.schema import conversations
from bot.store.sql import open_store
from tests.faults.proxy import Proxy


@pytest.fixture
async def pg_store(postgres_url):
    store = open_store(postgres_url)
    yield store
    await store.aclose()


def with_option(url: str, option: str) -> str:
    parsed = make_url(url)
    options = f"{parsed.query['options']} -c{option}"
    return parsed.update_query_dict({"options": options}).render_as_string(hide_password=False)


def test_server_that_is_away_is_named_without_the_password():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(StoreError, match=f"PostgreSQL at 127.0.0.1:{port} cannot be reached") as refusal:
            open_store(f"postgresql://shop:hunter2@127.0.0.1:{port}/shop")
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_missing_database_is_named(postgres_url):
    url = make_url(postgres_url).set(database="no_such_database").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="no_such_database"):
        open_store(url)


def test_server_that_may_lose_commits_is_refused(postgres_url):
    """P1."""
    with pytest.raises(SettingsError, match="synchronous_commit=off"):
        open_store(with_option(postgres_url, "synchronous_commit=off"))


async def test_lost_connection_is_an_error_and_heals(pg_store):
    with pytest.raises(StoreError):
        await pg_store._database.write(lambda c: c.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")))
    await pg_store.ping()


async def test_a_server_that_says_nothing_is_an_error_and_heals(postgres_url, monkeypatch):
    url = make_url(postgres_url)
    proxy = Proxy(url.port or 5432)
    await proxy.start()
    monkeypatch.setattr(under_test, "PATIENCE_S", 0.3)
    far = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    store = await asyncio.to_thread(open_store, far)
    proxy.hole.clear()
    async with asyncio.timeout(20):
        with pytest.raises(StoreError, match="does not answer within 0.3 s"):
            await store.ping()
    proxy.hole.set()
    monkeypatch.undo()
    await store.ping()
    await store.aclose()
    await proxy.aclose()


async def test_connections_that_were_cut_while_idle_are_not_noticed(pg_store):
    await asyncio.gather(*(pg_store.ping() for _ in range(8)))
    schema = await pg_store._database.read(lambda c: c.execute(text("SHOW search_path")).scalar())
    pids = await asyncio.gather(
        *(
            pg_store._database.read(lambda c: c.execute(text("SELECT pg_backend_pid(), pg_sleep(0.02)")).first()[0])
            for _ in range(8)
        )
    )
    engine = create_engine(pg_store._database._url)
    with engine.connect() as connection:
        assert schema.startswith("test_")
        for pid in set(pids):
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    engine.dispose()
    await asyncio.gather(*(pg_store.ping() for _ in range(8)))


async def test_row_that_stays_locked_is_an_error_and_heals(postgres_url):
    store = open_store(with_option(postgres_url, "lock_timeout=50ms"))
    made = await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    engine = create_engine(make_url(postgres_url))
    with engine.begin() as connection:
        connection.execute(select(conversations).with_for_update())
        with pytest.raises(StoreError, match="too slow"):
            await store.append(made.id, "read", {})
    engine.dispose()
    assert (await store.append(made.id, "read", {})).seq == 1
    await store.aclose()


async def test_transaction_undone_to_end_a_deadlock_is_run_again(pg_store):
    runs = []

    def work(connection):
        runs.append(1)
        if len(runs) == 1:
            connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$"))
        return len(runs)

    assert await pg_store._database.write(work) == 2


async def test_error_does_not_tell_what_was_being_written(pg_store):
    made = await pg_store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    await pg_store._database.write(lambda c: c.execute(text("ALTER TABLE events ADD CHECK (seq > 5)")))
    with pytest.raises(StoreError) as refusal:
        await pg_store.append(made.id, "read", {"text": "4111 1111"})
    assert "4111" not in str(refusal.value)
    assert refusal.value.__cause__ is None
