"""Two replicas in processes of their own, on PostgreSQL and a Redis of their own, behind nginx."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from bot import tokens
from bot.settings import ROOT
from bot.store.sql import SqlStore, open_store
from tests.live import House
from tests.replicas.replica import SECRET
from tests.store.conftest import empty_schema

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SIGNER = tokens.Tokens(SECRET)


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

    def alive(self) -> bool:
        self.process.send_signal(signal.SIGCONT)
        return self.process.poll() is None


class Replica(House):
    """A replica that may be killed and started again."""

    def __init__(self, folder: Path, database: str, redis: str) -> None:
        self.port = free_port()
        super().__init__(f"http://127.0.0.1:{self.port}", None, SIGNER, None)
        self._command = [sys.executable, "-m", "tests.replicas.replica", str(folder), str(self.port), database, redis]

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        self.holder = self.process.stdout.readline().strip()
        until_it_listens(self.port, self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def nginx(folder: Path, *ports: int) -> Iterator[str]:
    """The address of an nginx with the configuration of deploy/, in front of these ports."""
    if not Path(NGINX).exists():
        pytest.skip("No nginx; install Debian's package nginx.")
    port = free_port()
    said = (
        (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8").replace("listen 8080;", f"listen 127.0.0.1:{port};")
    )
    for n, upstream in enumerate(ports, 1):
        said = said.replace(f"server bot-{n}:8000 ", f"server 127.0.0.1:{upstream} ")
    assert not re.search(r"server bot|listen 8080", said)
    folder.mkdir()
    (folder / "nginx.conf").write_text(said, encoding="utf-8")
    command = [NGINX, "-p", f"{folder}/", "-c", str(folder / "nginx.conf"), "-e", "stderr", "-g", "daemon off;"]
    process = subprocess.Popen(command)
    try:
        until_it_listens(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()  # kill would leave its workers behind
        process.wait(10)


class Shop:
    """Two replicas, the address in front of them, and what they stand on."""

    def __init__(self, redis: Redis, replicas: list[Replica], front: House, database: str, go: Path) -> None:
        self.redis, self.replicas, self.front, self.database = redis, replicas, front, database
        self.go = go.touch
        self.halt = lambda: go.unlink(missing_ok=True)
        self.a, self.b = replicas
        self.store: SqlStore

    def mend(self) -> None:
        """Start again what a test has killed or paused."""
        if not self.redis.alive():
            self.redis.start()
        dead = [replica for replica in self.replicas if replica.process.poll() is not None]
        for replica in dead:
            replica.start()
        for replica in dead:
            replica.wait()

    async def who_answers(self, conversation_id: str) -> Replica:
        """The replica that tells this conversation's turn."""
        found = text("SELECT holder FROM messages WHERE conversation_id = :id AND outcome IS NULL")
        holder = await self.store._database.read(lambda c: c.execute(found, {"id": conversation_id}).scalar_one())
        [answering] = [replica for replica in self.replicas if replica.holder == holder]
        return answering


@pytest.fixture(scope="module")
def standing(tmp_path_factory) -> Iterator[Shop]:
    if not shutil.which("redis-server"):
        pytest.skip("No redis-server; install Debian's package redis-server.")
    folder, redis = tmp_path_factory.mktemp("shop"), Redis()
    with ExitStack() as stack:
        database = stack.enter_context(empty_schema())
        redis.start()
        stack.callback(redis.kill)
        replicas = [Replica(folder, database, redis.url) for _ in range(2)]
        for replica in replicas:
            replica.start()
            stack.callback(replica.kill)
        for replica in replicas:
            replica.wait()
        address = stack.enter_context(nginx(folder / "nginx", *(replica.port for replica in replicas)))
        yield Shop(redis, replicas, House(address, None, SIGNER, None), database, folder / "go")


@pytest.fixture
async def shop(standing) -> AsyncIterator[Shop]:
    standing.mend()
    standing.halt()
    standing.store = open_store(standing.database)
    yield standing
    await standing.store.aclose()
