"""What only SQLite can do wrong: files, disks, one writer."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import event

from bot.errors import StoreError
from bot.store import sqlite
from bot.store.sql import SqlStore, open_store


@pytest.fixture
async def file_store(tmp_path: Path):
    store = open_store(f"sqlite:///{tmp_path / 'bot.db'}")
    yield store
    await store.aclose()


async def made(store: SqlStore) -> str:
    return (await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")).id


async def test_commits_are_synced_to_disk(file_store):
    """P1: killing the program cannot show a missing sync, so the settings are looked at."""

    def settings(connection):
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await file_store._database.write(settings) == ["wal", 2, 1]
    assert await file_store._database.read(settings) == ["wal", 2, 1]


async def test_writes_that_wait_are_committed_together(file_store, monkeypatch):
    monkeypatch.setattr(sqlite, "GROUP_S", 60.0)
    id = await made(file_store)
    commits = []
    event.listen(file_store._database._writer, "commit", commits.append)
    started, go = threading.Event(), threading.Event()

    def hold(_):
        started.set()
        assert go.wait(5)

    held = asyncio.create_task(file_store._database.write(hold))
    await asyncio.to_thread(started.wait, 5)
    writes = [asyncio.create_task(file_store.append(id, "read", {"n": n}, epoch=1 + n % 2)) for n in range(40)]
    await asyncio.sleep(0)
    go.set()
    results = await asyncio.gather(held, *writes, return_exceptions=True)
    assert len(commits) == 1
    assert [r.seq for r in results[1::2]] == list(range(1, 21))
    assert all(isinstance(r, StoreError) for r in results[2::2])


async def test_a_loop_that_closed_before_its_commit_holds_nobody_up(file_store):
    conversation, begun, free = await made(file_store), threading.Event(), threading.Event()

    def work(connection):
        begun.set()
        assert free.wait(20)

    async def gone():
        asyncio.create_task(file_store._database.write(work))
        await asyncio.to_thread(begun.wait, 20)

    await asyncio.to_thread(asyncio.run, gone())
    free.set()
    assert (await file_store.append(conversation, "feedback.given", {})).seq == 1


async def test_acknowledged_writes_survive_kill_9(tmp_path):
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    program = f"""
import asyncio
from bot.store.sql import open_store
async def main():
    store = open_store({url!r})
    made = await store.create(site="shop", locale="en", shopper_id=None, resume_hash="ab")
    print(made.id, flush=True)
    while True:
        for event in await asyncio.gather(*(store.append(made.id, "read", {{}}) for _ in range(5))):
            print(event.seq, flush=True)
asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    id = child.stdout.readline().strip()
    acknowledged = [int(child.stdout.readline()) for _ in range(30)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().splitlines() if line]
    child.wait()
    store = open_store(url)
    seqs = [e.seq for e in await store.events(id)]
    await store.aclose()
    assert seqs == list(range(1, len(seqs) + 1))
    assert set(acknowledged) <= set(seqs)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match="nowhere/bot.db cannot be opened; create its folder"):
        open_store(f"sqlite:///{tmp_path}/nowhere/bot.db")


def test_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "bot.db").write_text("A letter to the editor. " * 100)
    with pytest.raises(StoreError, match="bot.db is no usable SQLite database"):
        open_store(f"sqlite:///{tmp_path}/bot.db")


def test_file_that_cannot_be_written_is_named(tmp_path):
    sqlite3.connect(tmp_path / "bot.db").execute("PRAGMA journal_mode=WAL").close()
    with pytest.raises(StoreError, match="bot.db.* cannot be written"):
        open_store(f"sqlite:///file:{tmp_path}/bot.db?mode=ro&uri=true")


async def test_locked_file_is_an_error_and_heals(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    store = open_store(f"sqlite:///{tmp_path}/bot.db")
    other = sqlite3.connect(tmp_path / "bot.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(*(store.ping() for _ in range(3)), return_exceptions=True)
    assert all("locked by another program" in str(result) for result in results)
    other.execute("ROLLBACK")
    await store.ping()
    await store.aclose()


async def test_writes_that_wait_for_a_locked_file_are_told_together(tmp_path, monkeypatch):
    """P17: the last does not wait as often as there are writes before it."""
    monkeypatch.setattr(sqlite, "BUSY_S", 0.3)
    store = open_store(f"sqlite:///{tmp_path}/bot.db")
    other = sqlite3.connect(tmp_path / "bot.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writes = [asyncio.create_task(store.ping()) for _ in range(20)]
    await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    told = [write.done() for write in writes]
    other.execute("ROLLBACK")
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert all(told)
    assert all("locked by another program" in str(result) for result in results)
    await store.ping()
    await store.aclose()


async def test_full_disk_is_an_error_loses_nothing_and_heals(file_store):
    """P17, with SQLite's own limit in the disk's place."""
    id = await made(file_store)
    before = await file_store.append(id, "read", {"n": 0})
    await file_store._database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1"))
    big = {"text": "x" * 100_000}
    results = await asyncio.gather(*(file_store.append(id, "read", big) for _ in range(8)), return_exceptions=True)
    assert all(isinstance(r, StoreError) and "is full; free some space" in str(r) for r in results)
    assert await file_store.events(id) == [before]
    await file_store._database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000"))
    assert (await file_store.append(id, "read", big)).seq == 2


async def test_error_does_not_tell_what_was_being_written(file_store):
    id = await made(file_store)
    await file_store._database.write(lambda c: c.exec_driver_sql("DROP TABLE events"))
    with pytest.raises(StoreError) as refusal:
        await file_store.append(id, "read", {"text": "4111 1111"})
    assert "4111" not in str(refusal.value)
    assert refusal.value.__cause__ is None


async def test_database_in_memory_works_alike():
    store = open_store("sqlite://")
    id = await made(store)
    await asyncio.gather(*(store.append(id, "read", {"n": n}) for n in range(20)))
    assert [e.seq for e in await store.events(id)] == list(range(1, 21))
    await store.aclose()


async def test_start_that_is_alone_frees_what_the_dead_held_and_others_do_not(tmp_path):
    """A restart does not wait for the lease of its own dead predecessor."""
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    program = (
        "import asyncio, sys; from bot.store.sql import open_store\n"
        "async def main():\n"
        "    store = open_store(sys.argv[1])\n"
        "    made = await store.create(site='shop', locale='en', shopper_id=None, resume_hash='ab')\n"
        "    await store.append_message(made.id, client_id='k', message_id='m', text='Hi')\n"
        "    assert await store.take_turn(made.id, lease_s=60) == 'm'\n"
        "    print(made.id, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    dead = subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True)
    conversation = dead.stdout.readline().strip()
    beside = open_store(url)
    assert await beside.take_turn(conversation, lease_s=60) is None
    await beside.aclose()
    dead.kill()
    dead.wait()
    after = open_store(url)
    assert await after.take_turn(conversation, lease_s=60) == "m"
    beside = open_store(url)
    assert await beside.take_turn(conversation, lease_s=60) is None
    await beside.aclose()
    await after.aclose()
