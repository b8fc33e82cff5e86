"""The built-in models, one by one: what each takes on disk, how long it takes to load and to answer.

    python -m tests.bench.models --rows 60

Asks the sample shop's test questions, in both languages, one at a time, as a shopper would. Read on an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer

from bot import wiring
from bot.protocols import Engine
from bot.retrieval.documents import load_documents
from bot.settings import ROOT, Settings
from bot.types import LANGUAGES, Language, Message
from finetune.contest import run_row
from finetune.data import Row, read_rows

MODELS = ROOT / "bot/models"


class Timed:
    """An engine whose pieces are timed; implements `bot.protocols.Engine`."""

    def __init__(self, inner: Engine) -> None:
        self._inner, self.name, self.fingerprint = inner, inner.name, inner.fingerprint
        self.first_s: list[float] = []
        self.prompts: list[int] = []
        self.told: list[tuple[str, float]] = []
        """Each answer's text, with the time from its first piece to its last."""

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt."""
        return self._inner.count(messages)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, only: Sequence[str] = ()
    ) -> AsyncGenerator[str, None]:
        """What the engine says, when it says it."""
        began, first, text = time.perf_counter(), 0.0, ""
        async for piece in self._inner.stream(messages, max_tokens=max_tokens, only=only):
            first = first or time.perf_counter()
            text += piece
            yield piece
        if first:
            self.first_s.append(first - began)
            self.prompts.append(self._inner.count(messages))
            self.told.append((text, time.perf_counter() - first))

    async def aclose(self) -> None:
        """Free what is held."""
        await self._inner.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=60, help="questions of each language (60)")
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads\n\nstored, MB")
    for folder in sorted(path for path in MODELS.iterdir() if path.is_dir() and not path.name.startswith("__")):
        print(f"  {folder.name:<12}{sum(p.stat().st_size for p in folder.rglob('*') if p.is_file()) / 1e6:>7.1f}")
    passages = {passage.id: passage for passage in load_documents(ROOT / "knowledge")}
    asked = [row for row in read_rows(ROOT / "finetune/data/test.jsonl", passages) if row.kind == "answerable"]
    rows: dict[Language, list[Row]] = {}
    for language in LANGUAGES:
        spoken = [row for row in asked if row.language == language and not row.history]
        rows[language] = spoken[:: max(1, len(spoken) // args.rows)][: args.rows]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), database="sqlite://")
        began = time.perf_counter()
        mood = wiring.sentiment()
        print(f"\nloaded in s\n  sentiment     {time.perf_counter() - began:6.1f}")
        began = time.perf_counter()
        search = wiring.retriever(settings)
        print(f"  search        {time.perf_counter() - began:6.1f}, the index built on the way")
        print("\na message, ms                 median    p95")
        for language in LANGUAGES:
            texts = [row.text for row in rows[language]]
            times(f"mood, {language}", texts, lambda text: mood.predict([text]))
            times(f"search, {language}", texts, partial(search.search, language=language, top_k=3))
        asyncio.run(turns(settings, rows))
    print(f"\nthe process, at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def times(name: str, texts: Sequence[str], call: Callable[[str], object]) -> None:
    """Print how long calls take, the first few not counted."""
    for text in texts[:3]:
        call(text)
    found = []
    for text in texts:
        began = time.perf_counter()
        call(text)
        found.append(time.perf_counter() - began)
    say(name, found)


def say(name: str, seconds: Sequence[float]) -> None:
    """Median and 95th percentile, in milliseconds."""
    print(f"  {name:<26}{np.median(seconds) * 1000:>8.1f}{np.quantile(seconds, 0.95) * 1000:>7.1f}", flush=True)


async def turns(settings: Settings, rows: dict[Language, list[Row]]) -> None:
    """Whole turns, and what of them the language model takes."""
    bot = wiring.bot(settings)
    timed = Timed(bot.engine)
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    try:
        for language, asked in rows.items():
            timed.first_s, timed.prompts, timed.told = [], [], []
            found = [await run_row(replace(bot, engine=timed), row, {}) for row in asked]
            say(f"whole turn, {language}", [result.seconds for result in found])
            say(f"model's first piece, {language}", timed.first_s)
            tokens = sum(len(tokenizer.encode(text, add_special_tokens=False)) for text, _ in timed.told)
            speed = tokens / sum(seconds for _, seconds in timed.told)
            print(f"    after prompts of {np.median(timed.prompts):.0f} tokens; then {speed:.0f} tokens/s")
    finally:
        await timed.aclose()
        await bot.store.aclose()


if __name__ == "__main__":
    main()
