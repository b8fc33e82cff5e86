"""Readiness: what is told, and that it heals."""

import asyncio
import os
import subprocess

import httpx
import pytest

from bot.health import Health
from tests.live import house

QUESTION = "How long does standard delivery take?"


async def ready(http):
    """Status and reasons; the process lives whatever they are."""
    assert (await http.get("/healthz")).text == "ok"
    answer = await http.get("/readyz")
    return answer.status_code, answer.json()["why"]


async def test_a_database_that_fails_or_hangs_makes_unready_until_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr("bot.health.DATABASE_S", 0.05)
    async with house(tmp_path) as server, httpx.AsyncClient(base_url=server.url) as http:
        store = server.live.bot.store
        store.failing["ping"] = 1
        assert await ready(http) == (503, ["database"])
        assert await ready(http) == (200, [])
        ping, store.store.ping = store.store.ping, asyncio.Event().wait
        assert await ready(http) == (503, ["database"])
        store.store.ping = ping
        assert await ready(http) == (200, [])


async def test_what_is_loaded_and_how_many_are_connected_is_told(tmp_path):
    async with house(tmp_path) as server, httpx.AsyncClient(base_url=server.url) as http, server.chat() as shopper:
        await shopper.until("welcome")
        told = (await http.get("/readyz")).json()
    assert (told["ready"], told["engine"], told["index"], told["connections"]) == (True, "scripted", "words", 1)


async def test_an_event_loop_that_comes_late_makes_unready_until_it_is_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr("bot.health.TICK_S", 0.01)
    async with house(tmp_path) as server:
        now = [0.0]
        health = Health(server.live.bot, server.door, now=lambda: now[0])
        watching = asyncio.create_task(health.watch())
        await asyncio.sleep(0)
        now[0] += 5.0
        while not health.lag_s:
            await asyncio.sleep(0.005)
        assert await health.why_not() == ["lag"]
        while health.lag_s:
            now[0] += 0.01
            await asyncio.sleep(0.01)
        assert await health.why_not() == []
        watching.cancel()


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 4 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs the right to")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_acks_nothing_and_heals(small_disk):
    async with house(small_disk) as server, httpx.AsyncClient(base_url=server.url, timeout=20) as http:
        async with server.chat() as shopper:
            await shopper.until("welcome")
            assert await ready(http) == (200, [])
            free = os.statvfs(small_disk)
            (small_disk / "filler").write_bytes(b"x" * (free.f_bavail * free.f_bsize))
            sent, error = 0, None
            while error is None:  # what the write-ahead log has room for is still written
                sent += 1
                assert sent < 100
                await shopper.send("message.send", client_id=str(sent), text=QUESTION * 40)
                while error is None and (frame := await shopper.next())["data"].get("client_id") != str(sent):
                    pass
                error = frame["data"] if frame["type"] == "error" else None
            assert (error["code"], error["retryable"]) == ("try_later", True)
            assert await ready(http) == (503, ["database"])
            (small_disk / "filler").unlink()
            assert await ready(http) == (200, [])
            await shopper.send("message.send", client_id="again", text=QUESTION)
            await shopper.until("ack", client_id="again")
