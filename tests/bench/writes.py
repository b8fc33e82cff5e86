"""Messages a second that the store writes beside a busy event loop, by how soon a thread must give way: why run.SWITCH_S.

python -m tests.bench.writes
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bot.store.sql import open_store

WRITERS, EACH = 200, 10
BUSY_S = 0.0005
"""How long the event loop computes at a time."""
INTERVALS_MS = (5.0, 1.0, 0.5, 0.2)


async def written_per_second(folder: Path) -> float:
    """How many, while the loop never rests."""
    store = open_store(f"sqlite:///{folder / 'bot.db'}")
    made = [await store.create(site="t", locale="en", shopper_id=None, resume_hash="h") for _ in range(WRITERS)]

    async def write(conversation_id: str) -> None:
        for n in range(EACH):
            await store.append_message(conversation_id, client_id=str(n), message_id=f"m{n}", text="How long?")

    async def compute() -> None:
        while True:
            until = time.perf_counter() + BUSY_S
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0)

    computing = asyncio.create_task(compute())
    began = time.perf_counter()
    await asyncio.gather(*(write(conversation.id) for conversation in made))
    took = time.perf_counter() - began
    computing.cancel()
    await store.aclose()
    return WRITERS * EACH / took


def main() -> None:
    """Print a line of JSON."""
    found = {}
    for interval_ms in INTERVALS_MS:
        sys.setswitchinterval(interval_ms / 1000)
        with tempfile.TemporaryDirectory() as folder:
            found[f"{interval_ms:g} ms"] = round(uvloop.run(written_per_second(Path(folder))))
    print(json.dumps({"writes_per_s": found}))


if __name__ == "__main__":
    main()
