"""Starts, kills and stops the server under test, in a process of its own that keeps its address.

Processes are forked from one that has imported the server already, so that a start takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.faults import server
from tests.faults.trace import STRACE

AGENTS = {name: f"{name}-has-a-long-key" for name in ("anna", "ben", "chen", "dina")}
SECRET = "f" * 48
START_S = 180.0
PRELOADED = [
    "tests.faults.server", "uvicorn.main", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.websockets_sansio_impl", "bot.server", "bot.bus.memory", "psycopg", "pydantic.v1",
    "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg", "alembic.autogenerate", "pytest",
]  # fmt: skip
"""What a start imports; pytest where the harness runs under it."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def _run(environment: dict[str, str], log: Path) -> None:
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.exit(server.serve(environment))


class Server:
    """The server over one folder (and database), started and killed as often as wanted."""

    def __init__(self, folder: Path, *, database_url: str = "", redis_url: str = "", bug: str = "", **values: object):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self.starts = 0
        self.environment = {
            "BOT_DATA": str(folder), "BOT_PORT": str(self.port), "BOT_DATABASE_URL": database_url,
            "BOT_REDIS_URL": redis_url, "BOT_TOKEN_SECRET": SECRET, "BOT_DEMO": "false",
            "BOT_AGENT_KEYS": ",".join(f"{name}:{key}" for name, key in AGENTS.items()),
            "BOT_MIN_SCORE": "0.3", "BOT_MIN_RULE": "0", "BOT_PROMPT_TOKENS": "4000", "BOT_ORDERS": "",
            "BOT_MESSAGES_PER_MINUTE": "1000000", "BOT_GRACE_S": "1", "BOT_LEASE_S": "1", "BOT_CAPACITY": "3",
            "FAULT_BUG": bug, **{
                name.upper() if name.startswith("fault") else f"BOT_{name.upper()}": str(value)
                for name, value in values.items()
            },
        }  # fmt: skip
        self._process: multiprocessing.process.BaseProcess | subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None and self._process.pid is not None
        if isinstance(self._process, subprocess.Popen):  # strace, whose child the server is
            return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0])
        return self._process.pid

    @property
    def alive(self) -> bool:
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll() is None
        return self._process is not None and self._process.is_alive()

    @property
    def status(self) -> int | None:
        """The exit status; None while it lives."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll()
        return self._process.exitcode if self._process is not None else None

    async def start(self, point: str = "", *, ready: bool = True) -> None:
        """Start, with a crash point; returns once it answers (or has died of its crash point)."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self.starts += 1
        self._process = context.Process(
            target=_run, args=({**self.environment, "FAULT_POINT": point}, self.log), daemon=True
        )
        self._process.start()
        if ready:
            await self.ready(may_die=bool(point))

    async def start_traced(self, trace: Path, *more: str) -> None:
        """Start under strace, which ends with the server; with more of its arguments."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*STRACE, *more, "-o", str(trace), sys.executable, "-m", "tests.faults.server"],
                env={**os.environ, **self.environment}, stdout=out, stderr=out,
            )  # fmt: skip
        await self.ready()

    async def ready(self, *, may_die: bool = False) -> None:
        """Wait until it answers."""
        async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as http:
            while True:
                if not self.alive:
                    if may_die:
                        return
                    raise RuntimeError(f"The server did not start; see {self.log}.")
                try:
                    if (await http.get(f"{self.url}/readyz", timeout=1)).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.02)

    async def dead(self, timeout_s: float, unless: Callable[[], bool] = lambda: False) -> bool:
        """Wait for its end, or until something else is so; False if it lives still."""
        for _ in range(int(timeout_s / 0.02) + 1):
            if not self.alive:
                return True
            if unless():
                return False
            await asyncio.sleep(0.02)
        return not self.alive

    async def kill(self) -> None:
        """`kill -9`."""
        await self.signal(signal.SIGKILL)
        assert await self.dead(10), "A killed process did not die."

    async def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.alive:
            os.kill(self.pid, number)

    async def faults(self) -> dict:
        """What the engine does."""
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            return (await http.get(f"{self.url}/faults")).json()
