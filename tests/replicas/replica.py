"""One replica as `bot serve` runs it, but with small parts and an engine that halts.

Run by the tests as `python -m tests.replicas.replica FOLDER PORT DATABASE REDIS`; prints who it is in the store.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import aclosing
from functools import partial
from pathlib import Path

from bot import desk, live, run, server, tokens
from bot.bus.redis import RedisBus
from bot.drain import drain
from bot.engine.scripted import ScriptedEngine
from bot.sockets import Door
from bot.store.sql import open_store
from bot.types import Hit, Passage
from tests.parts import TEMPLATES, make_bot

SECRET = "k" * 48
QUESTION = "How is the shelf put up?"
STEPS = [f"Step {n} of the shelf takes {n + 10} minutes." for n in range(1, 9)]
SHELF = Passage("en/faq/shelf#Steps", "en/faq/shelf", "Shelf", "Steps", "\n".join(f"- {s}" for s in STEPS), "en")


class HaltingEngine(ScriptedEngine):
    """Says all steps; after the fourth it waits until the file `go` is there."""

    def __init__(self, go: Path) -> None:
        super().__init__(TEMPLATES, lambda _: " ".join(f"{step} [1]" for step in STEPS))
        self.go = go

    async def stream(self, messages, *, max_tokens, only=()):
        said = ""
        async with aclosing(super().stream(messages, max_tokens=max_tokens, only=only)) as pieces:
            async for piece in pieces:
                said += piece
                yield piece
                while STEPS[4][:8] in said and not self.go.exists():
                    await asyncio.sleep(0.01)


class ShelfRetriever:
    """Finds the one passage."""

    generation = "shelf"

    def search(self, query, *, language, top_k, context=()):
        return [Hit(SHELF, 0.9)]


def main(folder: str, port: str, database: str, redis: str) -> None:
    logging.basicConfig(level=logging.WARNING)
    store = open_store(database)
    bot = make_bot(Path(folder), engine=HaltingEngine(Path(folder) / "go"), store=store, retriever=ShelfRetriever())
    running = live.Live(bot, RedisBus(redis), grace_s=15.0)
    door = Door(running, tokens.Tokens(SECRET), frozenset())
    app = server.create_app(running, door, desk.Desk(running, capacity=2, lease_s=60.0))
    listening = run.listen("127.0.0.1", int(port))
    print(store._me, flush=True)
    run.Server(app, partial(drain, door), trusted_proxies="127.0.0.1").run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
