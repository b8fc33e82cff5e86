"""Readers that never read: the server holds little for them, closes them, and they miss nothing once they are back."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path

from tests.faults.oracle import Oracle
from tests.faults.process import Server
from tests.faults.report import Finding
from tests.faults.shoppers import Shopper
from tests.faults.traffic import compare
from tests.raw_socket import CLOSE, raw_socket

MOST_BYTES = 400 * 1024
"""128 KiB that the bot queues, 64 KiB of uvicorn, 2 x 64 KiB of the kernel, and what is on its way."""
LONG = "很长的留言。" * 300
"""5.4 kB of UTF-8."""
MESSAGES = 150


async def deaf(seed: int, *, readers: int, bug: str = "") -> Finding:
    """Each deaf reader's other tab says 800 kB, which the deaf one ought to hear."""
    rng, oracle = random.Random(seed), Oracle()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        server = Server(Path(folder), bug=bug)
        try:
            await server.start()
            heard = await asyncio.gather(
                *(_one(server.url, oracle, random.Random(rng.random())) for _ in range(readers))
            )
            await compare(server.url, Path(folder) / "bot.db", oracle)
        finally:
            await server.kill()
    return Finding("deaf readers", seed, oracle.broken, {"readers": readers, "KiB kept at most": max(heard) // 1024})


async def _one(url: str, oracle: Oracle, rng: random.Random) -> int:
    """How many bytes were kept for the deaf one."""
    shopper = Shopper(url, oracle, rng)
    await shopper.end_of(await shopper.say("I want to talk to a person. [{}]"), 30)
    async with raw_socket(url, holds=4096) as ears:
        ears.send("hello", conversation_id=shopper.id, resume_token=shopper.known.resume_token, last_seq=2)
        await ears.until("welcome")
        for _ in range(MESSAGES):
            await shopper.say(LONG + " [{}]", copies=1)
        heard, closed = 0, False
        try:
            while heard <= MOST_BYTES and not closed:
                opcode, payload = await asyncio.wait_for(ears.read(), 20)
                heard, closed = heard + len(payload), opcode == CLOSE
        except (asyncio.IncompleteReadError, ConnectionError):
            closed = True
        except TimeoutError:
            pass
        if not closed:
            oracle.breaks(f"P15 {shopper.id}: more than {heard // 1024} KiB were kept for a reader that never reads")
    await shopper.leave()
    return heard
