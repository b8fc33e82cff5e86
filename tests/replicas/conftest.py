"""Two replicas in processes of their own, on PostgreSQL and a Redis of their own, behind nginx."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bot import tokens
from bot.settings import ROOT
from bot.store.sql import open_store
from tests.live import House
from tests.replicas import replica
from tests.store.conftest import postgres_url  # noqa: F401  (a fixture)

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def until_it_listens(port: int, process: subprocess.Popen) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, f"{process.args} ended with {process.returncode}"
            assert time.monotonic() < until, f"{process.args} does not listen"
            time.sleep(0.02)


@contextmanager
def running(*command: str, **values) -> Iterator[subprocess.Popen]:
    """A program, killed at the end if it still runs."""
    process = subprocess.Popen(command, **values)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class Redis:
    """A Redis that may be killed and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until_it_listens(self.port, self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis() -> Iterator[Redis]:
    if not shutil.which("redis-server"):
        pytest.skip("No redis-server; install Debian's package redis-server.")
    server = Redis()
    server.start()
    yield server
    server.kill()


@contextmanager
def nginx(folder: Path, *ports: int) -> Iterator[str]:
    """The address of an nginx with the configuration of deploy/, in front of these ports."""
    if not Path(NGINX).exists():
        pytest.skip("No nginx; install Debian's package nginx.")
    port = free_port()
    text = (
        (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8").replace("listen 8080;", f"listen 127.0.0.1:{port};")
    )
    for n, upstream in enumerate(ports, 1):
        text = text.replace(f"server bot-{n}:8000 ", f"server 127.0.0.1:{upstream} ")
    assert not re.search(r"server bot|listen 8080", text)
    folder.mkdir()
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    command = [NGINX, "-p", f"{folder}/", "-c", str(folder / "nginx.conf"), "-e", "stderr", "-g", "daemon off;"]
    process = subprocess.Popen(command)
    try:
        until_it_listens(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()  # kill would leave its workers behind
        process.wait(10)


class Shop:
    """Two replicas and the address in front of them."""

    def __init__(self, replicas: list[tuple[House, str, subprocess.Popen]], front: House, store, redis: Redis) -> None:
        self.a, self.b = (house for house, _, _ in replicas)
        self.front, self.store, self.redis = front, store, redis
        self._processes = {holder: process for _, holder, process in replicas}

    async def kill_who_answers(self, conversation_id: str) -> None:
        """kill -9 for the replica that tells this conversation's turn."""
        self._processes[await self.holder(conversation_id)].kill()

    async def holder(self, conversation_id: str) -> str:
        from sqlalchemy import text

        found = text("SELECT holder FROM messages WHERE conversation_id = :id AND outcome IS NULL")
        async with asyncio.timeout(10):
            while (
                holder := await self.store._database.read(lambda c: c.execute(found, {"id": conversation_id}).scalar())
            ) is None:
                await asyncio.sleep(0.01)
        return holder


@pytest.fixture
async def shop(tmp_path, postgres_url, redis):  # noqa: F811
    with ExitStack() as stack:
        replicas = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            command = [sys.executable, "-m", "tests.replicas.replica", str(tmp_path / name), postgres_url, redis.url]
            process = stack.enter_context(running(*command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            replicas.append(process)
        signer, houses = tokens.Tokens(replica.SECRET), []
        for process in replicas:
            port, holder = process.stdout.readline().split()
            until_it_listens(int(port), process)
            houses.append((House(f"http://127.0.0.1:{port}", None, signer), holder, process))
        ports = [int(house.url.rsplit(":", 1)[1]) for house, _, _ in houses]
        front = House(stack.enter_context(nginx(tmp_path / "nginx", *ports)), None, signer)
        store = open_store(postgres_url)
        try:
            yield Shop(houses, front, store, redis)
        finally:
            await store.aclose()
