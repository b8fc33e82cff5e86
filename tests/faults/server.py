"""The server under test: the real `bot serve`, with light twins for the models.

It may have a crash point (`FAULT_POINT=name:n`, points.py) and a seeded bug (`FAULT_BUG=name`, bugs.py);
`FAULT_DELAY_S` is the engine's pause between two pieces. `/faults` tells what the engine does.
process.py starts it in a process of its own; by hand: `FAULT_POINT=at_delta:3 python -m tests.faults.server`.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from bot import __main__ as bot_main
from bot import wiring
from bot.engine.scripted import ScriptedEngine
from tests.faults import bugs, points
from tests.parts import ExclamationMood, WordRetriever

ANSWER = (
    "Standard delivery takes 3 to 5 business days and costs $5.95. [1] "
    "Express delivery takes 1 to 2 business days and costs $14.95. [1]"
)
NUMBER = re.compile(r"\[(\w+)\]\s*$")
"""The mark by which a message is known, at the end of its text: see shoppers.py."""


class MarkedEngine:
    """The scripted engine, which notes when it generated the last piece for each marked message."""

    def __init__(self, templates: Any, delay_s: float) -> None:
        self._inside = ScriptedEngine(templates, lambda _: ANSWER, delay_s=delay_s)
        self.name, self.fingerprint = self._inside.name, self._inside.fingerprint
        self.count, self.aclose = self._inside.count, self._inside.aclose
        self.last_piece: dict[str, float] = {}

    @property
    def running(self) -> int:
        return self._inside.running

    async def stream(self, messages: Any, *, max_tokens: int, only: Any = ()) -> Any:
        mark = NUMBER.search(messages[-1].content.strip())
        stream = self._inside.stream(messages, max_tokens=max_tokens, only=only)
        try:
            async for piece in stream:
                if mark:
                    self.last_piece[mark[1]] = time.time()
                yield piece
        finally:
            await stream.aclose()


async def _watch(stalls: list[float]) -> None:
    """Note how late the event loop was at worst: on a busy machine the process itself may stand still."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.02)
        stalls[0] = max(stalls[0], time.monotonic() - before - 0.02)


def serve(environment: Mapping[str, str]) -> int:
    """Serve until a signal; the exit status."""
    os.environ.update(environment)
    engines: list[MarkedEngine] = []

    def engine(_: Any, templates: Any) -> MarkedEngine:
        engines.append(MarkedEngine(templates, float(os.environ.get("FAULT_DELAY_S", "0.002"))))
        return engines[-1]

    wiring.engine = engine  # pyright: ignore
    wiring.retriever = lambda settings, *, progress=False: WordRetriever()
    wiring.sentiment = ExclamationMood
    whole = wiring.serving

    def serving(settings: Any, **named: Any) -> Any:
        found = whole(settings, **named)

        stalls = [0.0]
        watching: list[asyncio.Task[None]] = []

        @found.app.get("/faults")
        async def faults() -> dict[str, Any]:
            if not watching:
                watching.append(asyncio.create_task(_watch(stalls)))
            tasks = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("turns ")]
            return {"running": engines[0].running, "turns": len(tasks), "last_piece": engines[0].last_piece,
                    "stall_s": max(stalls)}  # fmt: skip

        return found

    wiring.serving = serving
    bugs.seed(os.environ.get("FAULT_BUG", ""))
    points.arm(os.environ.get("FAULT_POINT", ""))
    return bot_main.main(["serve"])


if __name__ == "__main__":
    sys.exit(serve({}))
