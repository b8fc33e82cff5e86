"""A disk that fails under load: strace makes the server's syncs or its writes fail for a while.

Meanwhile nothing new is acknowledged, clients are told to try later, and the server lives and is not ready.
Once the disk works again, so does the server; killed then, it has lost nothing that was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.faults import rows
from tests.faults.away import BACK_S, back
from tests.faults.oracle import Oracle
from tests.faults.process import Server
from tests.faults.report import Finding
from tests.faults.shoppers import Shopper
from tests.faults.traffic import Traffic, compare

FAULTS = {"EIO at each sync": "fdatasync,fsync:error=EIO", "ENOSPC at each write": "pwrite64:error=ENOSPC"}
"""As strace's `inject` names them."""
SOON_S = 20.0
"""So long is waited for what must come at once on a machine that is not busy."""


class CannotAttach(Exception):
    """strace is missing, or may not trace another process here; the message is its own."""


@asynccontextmanager
async def failing(pid: int, calls: str) -> AsyncIterator[None]:
    """Have system calls of a running process fail meanwhile.

    Raises:
        CannotAttach: nothing was done.
    """
    if shutil.which("strace") is None:
        raise CannotAttach("there is no strace; on Debian: apt install strace")
    strace = await asyncio.create_subprocess_exec(
        "strace", "-f", "-o", os.devnull, "-e", "signal=none", "-e", f"trace={calls.partition(':')[0]}",
        "-e", f"inject={calls}", "-p", str(pid), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert strace.stderr is not None
    try:
        if "attached" not in (said := (await strace.stderr.readline()).decode().strip()):
            raise CannotAttach(said)
        yield
    finally:
        if strace.returncode is None:
            strace.terminate()
        await strace.communicate()


async def disk(
    seed: int, *, times: int, faults: tuple[str, ...] = tuple(FAULTS), back_s: float = BACK_S, bug: str = ""
) -> Finding:
    """Have the disk fail so many times in each way; then compare the three views.

    By turns the server comes back by itself, and is killed then, or is killed while the disk still fails:
    what it refused may have been written after all.

    Args:
        back_s: so soon after the disk works again a new message is answered, beside what that takes in peace.
    """
    rng, oracle, peace_s, backs = random.Random(seed), Oracle(), 0.0, dict[str, float]()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where = Path(folder) / "bot.db"
        server = Server(Path(folder), bug=bug)
        try:
            await server.start()
            async with Traffic([server.url], oracle, rng, pause_s=0.05) as traffic:
                for n, name in enumerate(faults * times):
                    heals = n // len(faults) % 2 == 0
                    peace_s = max(peace_s, await back([server.url], oracle, rng))
                    shopper = Shopper(server.url, oracle, rng)
                    await shopper.connect()
                    async with failing(server.pid, FAULTS[name]):
                        saying = asyncio.create_task(shopper.say(copies=1, stay=True))
                        try:
                            await _while_it_fails(server.url, oracle, rng, name, shopper)
                        except httpx.HTTPError as error:
                            oracle.breaks(f"P17 {name}: it does not answer: {error!r}")
                        if not heals:
                            await server.kill()
                    if heals:
                        backs[name] = max(backs.get(name, 0.0), await back([server.url], oracle, rng))
                        await server.kill()
                    rows.check_acks(oracle, rows.read(where, dead=True))
                    await server.start()
                    await saying
                    await shopper.leave()
                await traffic.finish()
                await compare(server.url, where, oracle)
        except CannotAttach as why:
            return Finding("failing disk", seed, [], {"skipped": str(why)})
        finally:
            await server.kill()
    for name, seconds in backs.items():
        if seconds > back_s + peace_s:
            oracle.breaks(f"P17 {name}: back only after {seconds:.1f} s; in peace it takes {peace_s:.1f} s")
    worst = {f"{name}, {times}": f"{seconds:.1f} s" for name, seconds in backs.items()}
    figures = {**worst, "in peace": f"{peace_s:.1f} s", "acked": oracle.acks}
    return Finding("failing disk, back within", seed, oracle.broken, figures)


async def _while_it_fails(url: str, oracle: Oracle, rng: random.Random, name: str, shopper: Shopper) -> None:
    """What holds until the disk works again; the shopper has a socket, and a message on its way."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=SOON_S) as http:
        if not await _soon(lambda: _unready(http)):
            oracle.breaks(f"P17 {name}: it stays ready")
        sent = {(id, client_id) for id, known in oracle.conversations.items() for client_id in known.sent | known.said}

        async def refused() -> bool:
            return any(tab.refusals for tab in shopper.tabs)

        if not await _soon(refused):
            oracle.breaks(f"P17 {name}: a shopper is not told to try later")
        await asyncio.sleep(rng.random())
        if (await http.get("/healthz")).text != "ok":
            oracle.breaks(f"P17 {name}: it does not say that it lives")
        if not await _unready(http):
            oracle.breaks(f"P17 {name}: it is ready again though the disk is not")
        acked = {(id, client_id) for id, known in oracle.conversations.items() for client_id in known.acked}
        if new := sorted(acked - sent):
            oracle.breaks(f"P17 {name}: {len(new)} messages were acknowledged meanwhile, the first of them {new[0]}")


async def _unready(http: httpx.AsyncClient) -> bool:
    return (await http.get("/readyz")).status_code == 503


async def _soon(so: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it is so, or comes to be soon."""
    until = time.monotonic() + SOON_S
    while not (found := await so()) and time.monotonic() < until:
        await asyncio.sleep(0.02)
    return found
