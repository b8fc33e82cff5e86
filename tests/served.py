"""`bot serve` in a process of its own, with twins for the models: `BOT_PORT=8000 python -m tests.served`.

`SERVED_DELAY_S` is the engine's pause between two pieces of its answer.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from bot import __main__ as bot_main
from bot import wiring
from bot.engine.scripted import ScriptedEngine
from bot.settings import ROOT
from tests.parts import ExclamationMood, WordRetriever

ANSWER = (
    "Standard delivery takes 3 to 5 business days and costs $5.95. [1] "
    "Express delivery takes 1 to 2 business days and costs $14.95. [1]"
)


def main() -> int:
    """Serve until a signal; the exit status."""
    delay_s = float(os.environ.get("SERVED_DELAY_S", "0"))
    wiring.engine = lambda _, templates: ScriptedEngine(templates, lambda _: ANSWER, delay_s=delay_s)
    wiring.retriever = lambda _, progress=False: WordRetriever()  # pyright: ignore
    wiring.sentiment = ExclamationMood
    return bot_main.main(["serve"])


class Served:
    """A running server process."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def chat(self) -> str:
        return self.url.replace("http", "ws") + "/v1/chat"

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=20) as http:
            return await http.get(path)

    async def status(self) -> int:
        """Its exit status, once it has ended."""
        return await asyncio.to_thread(self.process.wait, 60)


@asynccontextmanager
async def served(folder: Path, **environment: object):
    """A server over this folder; killed at the end if it still runs."""
    settings = {
        "BOT_DATA": folder, "BOT_PORT": 0, "BOT_MIN_SCORE": 0.3, "BOT_MIN_RULE": 0, "BOT_PROMPT_TOKENS": 4000,
        "BOT_ORDERS": "", "BOT_DEMO": "false", "PYTHONUNBUFFERED": 1, **environment,
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}
    log = folder / "served.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.served"], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=out,
            env={**kept, **{name: str(value) for name, value in settings.items()}},
        )  # fmt: skip
    try:
        yield Served(process, await asyncio.to_thread(_url, process), log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    for line in process.stdout:
        if match := re.search(r"documentation +(http\S+)/docs", line):
            return match[1]
    raise RuntimeError("The server did not start.")


if __name__ == "__main__":
    sys.exit(main())
