"""The server under load, each figure beside the limit of this machine in the same run.

    python -m tests.bench.load                      # everything, small
    python -m tests.bench.load hold --clients 10000
    python -m tests.bench.load --help

The generator is this process, the server another one (tests/served.py: `bot serve` with twins for the models);
both talk over loopback. Figures of a busy machine tell little: read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.bench.clients import PATIENCE_S, WITHOUT_LIMITS, Shopper, cpu_s, hold_all, milliseconds, rss_kib, shoppers
from tests.bench.limits import bare_echo, commits_per_second, echoes_per_second, memory, pg_commits_per_second
from tests.bench.storm import storm
from tests.faults.databases import fresh_database
from tests.served import served

ASKING = 500
"""Shoppers of all who are held that wait for an answer at the same time."""
LONG = "你" * 2000
ENOUGH_KIB = 400
"""More than the server, its kernel and the reader's hold together for one who never reads."""


async def hold(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Connections held in one process: what each costs, and that all are answered."""
    async with bare_echo() as (port, pid):
        limit = await memory(port, pid, "/", args.clients)
    async with served(folder, **WITHOUT_LIMITS) as server:
        each = await memory(server.port, server.process.pid, "/v1/chat", args.clients)
    (folder / "hold").mkdir()
    async with (
        served(folder / "hold", **WITHOUT_LIMITS) as server,
        shoppers(server.port, args.clients) as all_held,
    ):
        outcomes: dict[str, int] = {}

        gate = asyncio.Semaphore(ASKING)

        async def ask(shopper: Shopper) -> None:
            async with gate:
                await shopper.say()
                done = await shopper.until("message.completed")
            outcomes[done["data"]["outcome"]] = outcomes.get(done["data"]["outcome"], 0) + 1

        began, spent = time.perf_counter(), cpu_s(server.process.pid)
        await asyncio.gather(*(ask(shopper) for shopper in all_held))
        took, rss = time.perf_counter() - began, rss_kib(server.process.pid)
        spent = cpu_s(server.process.pid) - spent
    return {
        "clients": args.clients, "answered": outcomes, "answers_per_s": round(args.clients / took),
        "cpu_ms_each": round(1000 * spent / args.clients, 1),
        "server_mib": round(rss / 1024), "kib_each": each, "kib_each_bare_uvicorn": limit,
        "ratio": round(each / limit, 2),
    }  # fmt: skip


async def acks(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Durable acks a second: as many as can be, then at a steady rate, whose delays are what a shopper sees.

    A human agent holds the conversations, so that what is measured is the message's way into the log.
    """
    async with bare_echo() as (port, _):
        echo = await echoes_per_second(port, 100, 2)
    async with AsyncExitStack() as stack:
        url = stack.enter_context(fresh_database()) if args.postgres else f"sqlite:///{folder}/bot.db"
        limit = pg_commits_per_second(url, 2) if args.postgres else commits_per_second(folder, args.clients, 2)
        server = await stack.enter_async_context(served(folder, BOT_DATABASE_URL=url, **WITHOUT_LIMITS))
        all_held = await stack.enter_async_context(shoppers(server.port, args.clients))
        hold_all(url)

        async def talk(shopper: Shopper, until: float, pause_s: float, took: list[float]) -> None:
            await asyncio.sleep(random.random() * pause_s)
            while time.perf_counter() < until:
                began = time.perf_counter()
                took.append(await shopper.say())
                await asyncio.sleep(max(0.0, began + pause_s - time.perf_counter()))

        async def run_for(pause_s: float) -> list[float]:
            took: list[float] = []
            until = time.perf_counter() + args.seconds
            await asyncio.gather(*(talk(shopper, until, pause_s, took) for shopper in all_held))
            return took

        steady = await run_for(args.clients / args.rate)
        began, spent = time.perf_counter(), cpu_s(server.process.pid)
        most = await run_for(0)
        took, spent = time.perf_counter() - began, cpu_s(server.process.pid) - spent
    return {
        "clients": args.clients, "database": url.partition(":")[0], "asked_per_s": args.rate, "acks_per_s_steady": round(len(steady) / args.seconds),
        **milliseconds(steady), "acks_per_s_at_most": round(len(most) / took),
        "cpu_ms_each": round(1000 * spent / len(most), 2),
        "commits_per_s_bare": round(limit), "echoes_per_s_bare_uvicorn": round(echo),
        "ratio": round(len(most) / took / min(limit, echo), 2),
    }  # fmt: skip


async def fanout(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One conversation in many tabs: frames that reach all of them."""
    async with bare_echo() as (port, _):
        echo = await echoes_per_second(port, 100, 2)
    async with served(folder, **WITHOUT_LIMITS) as server, shoppers(server.port, 1) as [first]:
        tabs = [Shopper() for _ in range(args.clients)]
        for tab in tabs:
            tab.again = first.again
            await tab.connect(server.port)
            await tab.hello()
        hold_all(f"sqlite:///{folder}/bot.db")
        delays: list[float] = []
        frames, began = 0, time.perf_counter()
        while time.perf_counter() < began + args.seconds:
            said = time.perf_counter()
            await asyncio.gather(first.say(), *(tab.until("message.created") for tab in tabs))
            delays.append(time.perf_counter() - said)
            frames += len(tabs) + 2
        took = time.perf_counter() - began
        whole = all(tab.seqs == list(range(1, len(tab.seqs) + 1)) for tab in tabs)
        for tab in tabs:
            tab.close()
    return {
        "tabs": args.clients, "frames_per_s": round(frames / took), "until_the_last_tab": milliseconds(delays),
        "all_in_order": whole, "echoes_per_s_bare_uvicorn": round(echo), "ratio": round(frames / took / echo, 2),
    }  # fmt: skip


async def slow(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Tabs of a busy conversation that never read: what each makes the server hold, and what the others notice.

    The busy conversation is spoken in twice, at first without those tabs. The second time goes on at least until
    each of them was sent more than it may have waiting.
    """
    never, others = args.clients // 5, args.clients - args.clients // 5
    async with (
        served(folder, **WITHOUT_LIMITS) as server,
        shoppers(server.port, others + 1) as [speaker, *listening],
    ):
        hold_all(f"sqlite:///{folder}/bot.db")
        memory_kib = [rss_kib(server.process.pid)]

        async def talk(shopper: Shopper, spoken: asyncio.Task[None], took: list[float]) -> None:
            while not spoken.done():
                took.append(await shopper.say())
                await asyncio.sleep(random.random() * 2 * args.clients / args.rate)

        async def speak() -> None:
            began, times = time.perf_counter(), ENOUGH_KIB * 1024 // len(LONG.encode()) + 1
            for n in range(1, times + 1):
                await speaker.say(LONG)
                memory_kib.append(rss_kib(server.process.pid))
                await asyncio.sleep(max(0.0, began + n * args.seconds / times - time.perf_counter()))

        async def run_once() -> dict[str, float]:
            took: list[float] = []
            spoken = asyncio.create_task(speak())
            await asyncio.gather(spoken, *(talk(shopper, spoken, took) for shopper in listening))
            return milliseconds(took)

        alone = await run_once()
        deaf = [Shopper() for _ in range(never)]
        for tab in deaf:
            tab.again, tab.seqs = speaker.again, speaker.seqs[-1:]
            await tab.connect(server.port, holds=4096)
            await tab.hello()
            tab.wire.transport.pause_reading()
        memory_kib[:] = [rss_kib(server.process.pid)]
        beside = await run_once()
        async with asyncio.timeout(PATIENCE_S):
            while (await server.get("/readyz")).json()["connections"] > others + 1:
                await asyncio.sleep(0.1)
        for tab in deaf:
            tab.close()
    return {
        "never_read": never, "of": args.clients, "kib_sent_to_each": ENOUGH_KIB,
        "kib_each_at_most": round((max(memory_kib) - memory_kib[0]) / never, 1), "all_closed": True, "alone": alone,
        "beside_them": beside, "ratio_p99": round(beside["p99_ms"] / alone["p99_ms"], 2),
    }  # fmt: skip


async def websockets(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The WebSocket implementations side by side: echoes a second, and memory of an idle connection."""
    found = {}
    for name in ("ours", "websockets-sansio", "wsproto"):
        async with bare_echo(name) as (port, pid):
            each, spent = await memory(port, pid, "/", args.clients), cpu_s(pid)
            echoes = await echoes_per_second(port, 100, args.seconds)
            spent = cpu_s(pid) - spent
        found[name] = {
            "echoes_per_s": round(echoes), "cpu_us_each": round(1e6 * spent / (echoes * args.seconds)), "kib_each": each,
        }  # fmt: skip
    return found


WHAT = {"hold": hold, "acks": acks, "fanout": fanout, "storm": storm, "slow": slow}
CLIENTS = {"hold": 2000, "acks": 1000, "fanout": 200, "storm": 1000, "slow": 500, "websockets": 1000}


def main() -> None:
    """Run what was asked for, and print a line of JSON for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"{', '.join(CLIENTS)} (all but the last)")
    parser.add_argument("--clients", type=int, help=f"default: {CLIENTS}")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    parser.add_argument(
        "--rate", type=float, default=800.0, help="messages a second of all clients, where steady (800)"
    )
    parser.add_argument("--postgres", action="store_true", help="acks on PostgreSQL, not SQLite")
    args = parser.parse_args()
    runs = {**WHAT, "websockets": websockets}
    for name in args.what or WHAT:
        if name not in runs:
            parser.error(f"{name}: one of {', '.join(runs)}")
        sizes = argparse.Namespace(**{**vars(args), "clients": args.clients or CLIENTS[name]})
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({name: asyncio.run(runs[name](Path(folder), sizes))}), flush=True)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
