"""What the machine could do at best: a bare echo under uvicorn, and SQLite's group commit without anything around it.

`python -m tests.bench.limits PORT WEBSOCKET` is the echo; load.py starts it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import uvicorn

from bot import run
from bot.settings import ROOT
from bot.store.postgres import CONNECTIONS
from bot.store.sqlite import GROUP_S
from bot.websocket import WebSocket
from tests.bench.clients import Shopper, rss_kib


async def echo(scope, receive, send):
    """An app that sends back what comes."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text")})


@asynccontextmanager
async def bare_echo(websocket: str = "ours"):
    """A port where it runs, and its process id."""
    with run.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "tests.bench.limits", str(port), websocket]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        while True:
            try:
                first = Shopper()
                await first.connect(port, "/")
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"The echo with {websocket!r} does not start; see above.") from None
                await asyncio.sleep(0.1)
        first.close()
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


async def echoes_per_second(port: int, clients: int, seconds: float) -> float:
    """Messages of a usual size there and back."""
    text, count = "x" * 200, 0
    until = time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal count
        shopper = Shopper()
        await shopper.connect(port, "/")
        while time.perf_counter() < until:
            shopper.wire.write(text)
            await shopper.raw("the echo")
            count += 1
        shopper.close()

    await asyncio.gather(*(ask() for _ in range(clients)))
    return count / seconds


async def memory(port: int, pid: int, path: str, clients: int) -> float:
    """KiB that an idle connection costs, hello and all."""
    held: list[Shopper] = []

    async def come() -> None:
        shopper = Shopper()
        await shopper.connect(port, path)
        if path != "/":
            await shopper.hello()
        held.append(shopper)

    for _ in range(100):  # what the first ones load is no connection's cost
        await come()
    before = rss_kib(pid)
    for _ in range(clients // 50):
        await asyncio.gather(*(come() for _ in range(50)))
    grown = rss_kib(pid) - before
    for shopper in held:
        shopper.close()
    return round(grown / (clients // 50 * 50), 1)


def commits_per_second(folder: Path, waiting: int, seconds: float) -> float:
    """Messages a second that SQLite syncs when so many wait, committed together as the store does."""
    database = sqlite3.connect(folder / "limit.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, data TEXT)")
    count, until, text = 0, time.perf_counter() + seconds, "x" * 300
    while time.perf_counter() < until:
        database.execute("BEGIN IMMEDIATE")
        group = time.perf_counter() + GROUP_S
        for _ in range(waiting):
            database.execute("INSERT INTO event (data) VALUES (?)", (text,))
            count += 1
            if time.perf_counter() > group:
                break
        database.execute("COMMIT")
    database.close()
    return count / seconds


def pg_commits_per_second(url: str, seconds: float) -> float:
    """Messages a second that PostgreSQL syncs over as many connections as the store has, one at a time on each."""

    def insert(_: int) -> int:
        with psycopg.connect(url, autocommit=True) as connection:
            count, until, text = 0, time.perf_counter() + seconds, "x" * 300
            while time.perf_counter() < until:
                connection.execute("INSERT INTO bench_event (data) VALUES (%s)", (text,))
                count += 1
            return count

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bench_event (id bigserial PRIMARY KEY, data text)")
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return sum(threads.map(insert, range(CONNECTIONS))) / seconds


if __name__ == "__main__":
    uvicorn.run(
        echo, port=int(sys.argv[1]), ws=WebSocket if sys.argv[2] == "ours" else sys.argv[2], lifespan="off",
        log_config=None, ws_max_size=run.MAX_MESSAGE_BYTES, ws_per_message_deflate=False,
    )  # fmt: skip
