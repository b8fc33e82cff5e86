"""Databases of the harness's own: a fresh one in a PostgreSQL that runs, or whole servers that may be killed."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis.asyncio

from tests.faults.process import free_port

POSTGRES = os.environ.get("SHOPTALK_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")


@contextmanager
def fresh_database() -> Iterator[str]:
    """The address of an empty database, dropped afterwards.

    Raises:
        SystemExit: no PostgreSQL answers.
    """
    name = f"faults_{secrets.token_hex(6)}"
    server = POSTGRES.replace("+psycopg", "")
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # pyright: ignore
    except psycopg.OperationalError as error:
        raise SystemExit(f"No PostgreSQL at {server} ({error}); set SHOPTALK_TEST_POSTGRES.") from None
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # pyright: ignore


class Redis:
    """A Redis that may be killed and started again; it keeps nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once it answers."""
        self._process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        await _until_it_listens(self.port)

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def tell(self, *command: str) -> None:
        """One command."""
        async with redis.asyncio.Redis(port=self.port) as client:
            await client.execute_command(*command)


class Postgres:
    """A PostgreSQL in a folder of its own that may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder / "postgres"
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        self._bin = binaries[-1].parent if binaries else None
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root

    async def start(self) -> None:
        """Returns once it takes work; on the first start the database is made."""
        if self._bin is None:
            raise SystemExit("PostgreSQL's server is needed; on Debian: apt install postgresql.")
        if not self.folder.exists():
            self.folder.parent.chmod(0o755)
            self.folder.mkdir(mode=0o700)
            if self._user:
                shutil.chown(self.folder, self._user)
            made = [self._bin / "initdb", "-D", self.folder, "-U", "postgres", "-A", "trust", "--no-sync"]
            subprocess.run(made, check=True, stdout=subprocess.DEVNULL, user=self._user, cwd="/")
        command = [self._bin / "postgres", "-D", self.folder, "-p", str(self.port), "-k", self.folder,
                   "-c", "listen_addresses=127.0.0.1", "-c", "log_min_messages=panic"]  # fmt: skip
        for _ in range(100):
            self._process = subprocess.Popen(command, user=self._user, cwd="/", stderr=subprocess.DEVNULL)
            while self._process.poll() is None:
                try:
                    connection = await psycopg.AsyncConnection.connect(self.url, connect_timeout=2)
                    return await connection.close()
                except psycopg.OperationalError:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.1)  # those who were killed are not all gone yet
        raise SystemExit("The harness's own PostgreSQL does not start.")

    def kill(self) -> None:
        """`kill -9` for the one that the others follow."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def terminate_connections(self) -> None:
        """End every connection but this one."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                return writer.close()
            except OSError:
                await asyncio.sleep(0.02)
