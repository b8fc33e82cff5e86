"""A restart under load: everyone is cut off in the middle of an answer, and comes back at once."""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bot import run
from tests.bench.clients import WITHOUT_LIMITS, Gone, Refused, Shopper, cpu_s, milliseconds, shoppers
from tests.served import served

BACK_S = 240.0
"""All who were cut off must be back, and have what they missed, within so long of the new start."""
SPENT = re.compile(r"retry_after_ms=(\d+)")


async def storm(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """A restart under load: how long until all have resumed, and what was lost or doubled."""
    with run.listen("127.0.0.1", 0) as taken:
        fixed = {**WITHOUT_LIMITS, "BOT_PORT": taken.getsockname()[1], "SERVED_DELAY_S": 0.02}
        fixed["BOT_GENERATIONS"] = 200  # not the model's twin is measured
    codes: dict[int | str, int] = {}
    resumed: list[float] = []
    stopped = asyncio.Event()

    async def come_back(shopper: Shopper, port: int) -> float | None:
        """Ask, be cut off in the middle of the answer, and come back until all of it was seen."""
        acked = False
        while True:
            try:
                await shopper.say(again=shopper.sent > 0) if not acked else None
                acked = True
                while True:
                    await shopper.next()
            except Gone:
                code, reason = shopper.wire.closed.result()
            except Refused as refused:
                code, reason = str(refused), ""
                shopper.close()
            codes[code] = codes.get(code, 0) + 1
            asked = SPENT.search(reason)
            await asyncio.sleep(int(asked[1]) / 1000 if asked else 0.5 + random.random())
            attempt = 0
            while True:
                try:
                    await shopper.connect(port)
                    last = await shopper.hello()
                    while max(shopper.seqs, default=0) < last:
                        await shopper.next()
                    break
                except (OSError, Gone, Refused):
                    shopper.close()
                    await asyncio.sleep(random.random() * min(2.0, 0.2 * 2**attempt))
                    attempt += 1
            if stopped.is_set():
                resumed.append(time.perf_counter())
                return await shopper.say(again=True) if not acked else None

    async with served(folder, **fixed) as server:
        port = server.port
        async with shoppers(port, args.clients) as all_held:
            coming = [asyncio.create_task(come_back(shopper, port)) for shopper in all_held]
            while sum(shopper.sent for shopper in all_held) < args.clients:
                await asyncio.sleep(0.05)
            server.process.send_signal(signal.SIGTERM)
            stopping = time.perf_counter()
            status = await server.status()
            stopped.set()
            stopped_s = time.perf_counter() - stopping
            async with served(folder, **fixed) as server:
                began = time.perf_counter()

                async def whole(shopper: Shopper) -> None:
                    while len(shopper.seqs) < 2:  # the message and its answer
                        await shopper.next()

                try:
                    async with asyncio.timeout(BACK_S):
                        await asyncio.gather(*coming)
                        spent = cpu_s(server.process.pid)
                        await asyncio.gather(*(whole(shopper) for shopper in all_held))
                except TimeoutError as error:
                    missing = [shopper.waits_for for shopper in all_held if len(shopper.seqs) < 2]
                    raise TimeoutError(f"{len(missing)} are not back; they wait for {Counter(missing)}") from error
                delays = [max(0.0, at - began) for at in resumed]
            gaps = sum(set(s.seqs) != set(range(1, max(s.seqs) + 1)) for s in all_held)
            doubles = sum(len(s.seqs) != len(set(s.seqs)) for s in all_held)
    return {
        "clients": args.clients, "status": status, "stopped_within_s": round(stopped_s, 1), "close_codes": codes,
        "all_resumed_within_s": round(max(delays), 1), "cpu_s": round(spent, 1), **milliseconds(delays), "gaps": gaps, "doubles": doubles,
    }  # fmt: skip
