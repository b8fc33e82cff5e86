"""One replica as `bot serve` runs it, but with small parts and a slow engine.

Run by the tests as `python -m tests.replicas.replica FOLDER DATABASE REDIS`; prints `PORT HOLDER` once it listens.
"""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path

import uvicorn

from bot import desk, live, server, tokens
from bot.bus.redis import RedisBus
from bot.engine.scripted import ScriptedEngine
from bot.sockets import Door
from bot.store.sql import open_store
from bot.types import Hit, Passage
from tests.parts import TEMPLATES, make_bot

SECRET = "k" * 48
QUESTION = "How is the shelf put up?"
STEPS = [f"Step {n} of the shelf takes {n + 10} minutes." for n in range(1, 9)]
SHELF = Passage("en/faq/shelf#Steps", "en/faq/shelf", "Shelf", "Steps", "\n".join(f"- {s}" for s in STEPS), "en")
PIECE_S = 0.03
"""Between two pieces of four characters: an answer takes some three seconds."""

live.LEASE_S, live.SWEEP_S = 5.0, 1.0


class ShelfRetriever:
    """Finds the one passage."""

    generation = "shelf"

    def search(self, query, *, language, top_k, context=()):
        return [Hit(SHELF, 0.9)]


def main(folder: str, database: str, redis: str) -> None:
    logging.basicConfig(level=logging.WARNING)
    engine = ScriptedEngine(TEMPLATES, lambda _: " ".join(f"{step} [1]" for step in STEPS), delay_s=PIECE_S)
    store = open_store(database)
    bot = make_bot(Path(folder), engine=engine, store=store, retriever=ShelfRetriever())
    running = live.Live(bot, RedisBus(redis), grace_s=15.0)
    door = Door(running, tokens.Tokens(SECRET), frozenset(), messages_per_minute=100)
    app = server.create_app(running, door, desk.Desk(running, capacity=2, lease_s=60.0))
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], store._me, flush=True)
    config = uvicorn.Config(app, log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
