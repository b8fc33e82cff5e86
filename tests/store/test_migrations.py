"""The tables' history: it leads to schema.py, once, whoever starts first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from bot.errors import StoreError
from bot.store.schema import handoffs, metadata
from bot.store.sql import open_store

OPEN = {"reason": "angry", "priority": 2, "waiting_since": 1.0, "locale": "en", "facts": {}, "opened_seq": 1}


async def test_migrations_lead_to_the_tables_that_the_statements_expect(store):
    def differences(connection):
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, metadata)

    assert await store._database.write(differences) == []


async def test_database_itself_refuses_a_second_open_handoff(store):
    made = await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")

    def two_open(connection):
        connection.execute(insert(handoffs), [OPEN | {"conversation_id": made.id, "closed_at": 2.0}] * 2)
        with pytest.raises(IntegrityError):
            with connection.begin_nested():
                connection.execute(insert(handoffs), [OPEN | {"conversation_id": made.id, "closed_at": None}] * 2)

    await store._database.write(two_open)


async def test_reopened_database_keeps_what_it_held(new_store):
    first = new_store()
    made = await first.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    event = await first.append(made.id, "read", {"n": 1})
    await first.aclose()
    assert await new_store().events(made.id) == [event]


async def test_programs_that_start_together_make_the_tables_once(url):
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(open_store, [url] * 6))
    for store in stores:
        await store.ping()
        await store.aclose()


async def test_tables_of_a_newer_release_are_left_alone(new_store):
    store = new_store()
    await store._database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreError, match="newer release.*9999"):
        new_store()
    await store.ping()
