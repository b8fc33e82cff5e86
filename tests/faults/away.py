"""PostgreSQL and Redis away in the middle of answers: nothing is lost, and all goes on soon after they are back."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.faults.databases import Postgres, Redis
from tests.faults.oracle import Oracle
from tests.faults.process import Server
from tests.faults.proxy import Proxy
from tests.faults.report import Finding
from tests.faults.shoppers import Shopper
from tests.faults.traffic import Traffic, compare

BACK_S = 5.0
"""So soon after a database is back a new message is acknowledged and answered; what the same takes in peace comes on top,
since a busy machine may take seconds for that alone."""


class Shop:
    """Two replicas, with a proxy before each database, and what may happen to them."""

    def __init__(self, folder: Path, bug: str) -> None:
        self.folder, self.bug = folder, bug
        self.postgres, self.redis = Postgres(folder), Redis()
        self.to_postgres, self.to_redis = Proxy(self.postgres.port), Proxy(self.redis.port)
        self.servers: list[Server] = []

    async def start(self) -> None:
        await self.postgres.start()
        await self.redis.start()
        await self.to_postgres.start()
        await self.to_redis.start()
        for name in ("one", "two"):
            (self.folder / name).mkdir()
            database = self.postgres.url.replace(str(self.postgres.port), str(self.to_postgres.port))
            redis = f"redis://127.0.0.1:{self.to_redis.port}/0"
            self.servers.append(Server(self.folder / name, database_url=database, redis_url=redis, bug=self.bug))
            await self.servers[-1].start()

    async def stop(self) -> None:
        for server in self.servers:
            await server.kill()
        await self.to_postgres.aclose()
        await self.to_redis.aclose()
        self.postgres.kill()
        self.redis.kill()


async def _kill_postgres(shop: Shop, pause_s: float) -> None:
    shop.postgres.kill()
    await asyncio.sleep(pause_s)
    await shop.postgres.start()


async def _terminate(shop: Shop, pause_s: float) -> None:
    await shop.postgres.terminate_connections()


async def _kill_redis(shop: Shop, pause_s: float) -> None:
    shop.redis.kill()
    await asyncio.sleep(pause_s)
    await shop.redis.start()


async def _flush_redis(shop: Shop, pause_s: float) -> None:
    await shop.redis.tell("FLUSHALL")


async def _pause_redis(shop: Shop, pause_s: float) -> None:
    await shop.redis.tell("CLIENT", "PAUSE", str(int(pause_s * 1000)), "ALL")
    await asyncio.sleep(pause_s)


def _network(which: str, what: str) -> Callable[[Shop, float], Awaitable[None]]:
    async def fault(shop: Shop, pause_s: float) -> None:
        proxy: Proxy = getattr(shop, f"to_{which}")
        match what:
            case "reset":
                proxy.reset()
            case "refuse":
                proxy.refusing = True
                proxy.reset()
                await asyncio.sleep(pause_s)
                proxy.refusing = False
            case "hole":
                proxy.hole.clear()
                await asyncio.sleep(pause_s)
                proxy.hole.set()
            case "slow":
                proxy.delay_s, proxy.slice_bytes = 0.02, 100
                await asyncio.sleep(pause_s)
                proxy.delay_s, proxy.slice_bytes = 0.0, 65_536

    return fault


FAULTS: dict[str, Callable[[Shop, float], Awaitable[None]]] = {
    "postgres killed": _kill_postgres,
    "postgres connections terminated": _terminate,
    "redis killed": _kill_redis,
    "redis flushed": _flush_redis,
    "redis paused": _pause_redis,
    **{f"{which} {what}": _network(which, what)
       for which in ("postgres", "redis") for what in ("reset", "refuse", "hole", "slow")},
}  # fmt: skip


async def away(seed: int, *, times: int, faults: tuple[str, ...] = (), bug: str = "") -> Finding:
    """Take the databases away so many times in each way, under load; then compare the three views."""
    rng, oracle = random.Random(seed), Oracle()
    worst: dict[str, float] = {}
    peace_s = 0.0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        shop = Shop(Path(folder), bug)
        try:
            await shop.start()
            urls = [server.url for server in shop.servers]
            async with Traffic(urls, oracle, rng, shoppers=6, agents=1, pause_s=0.1) as traffic:
                for name in (faults or FAULTS) if not bug else faults:
                    worst[name] = 0.0
                    for _ in range(times):
                        peace_s = max(peace_s, await back(urls, oracle, rng))
                        await asyncio.sleep(0.3 * rng.random())
                        await FAULTS[name](shop, 0.3 + rng.random())
                        worst[name] = max(worst[name], await back(urls, oracle, rng))
                await traffic.finish()
            for url in urls:
                await compare(url, shop.postgres.url, oracle)
        finally:
            await shop.stop()
    for name, seconds in worst.items():
        if seconds > BACK_S + peace_s:
            oracle.breaks(f"P17 {name}: back only after {seconds:.1f} s; in peace it takes {peace_s:.1f} s")
    figures = {f"{name}, {times}": f"{seconds:.1f} s" for name, seconds in worst.items()}
    return Finding(
        "databases away, back within",
        seed,
        oracle.broken,
        {**figures, "in peace": f"{peace_s:.1f} s", "acked": oracle.acks},
    )


async def back(urls: list[str], oracle: Oracle, rng: random.Random) -> float:
    """Seconds until a new message is acknowledged and answered."""
    began = time.monotonic()
    shopper = Shopper(urls, oracle, rng)
    client_id = await shopper.say("How long does standard delivery take? [{}]", stay=True)
    if not await shopper.end_of(client_id, 30):
        told = [(tab.last_seq, "closed" if tab.closed else "open") for tab in shopper.tabs]
        oracle.breaks(f"P6 {shopper.id}: no answer to {shopper.known.acked[client_id]} within 30 s; tabs told {told}")
    await shopper.leave()
    return time.monotonic() - began
