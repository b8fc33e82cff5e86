"""Tells saved rows as turns, for each contender: the same search, mood, gate and store, and only the engine exchanged.

Knows no flags and prints nothing but its progress; what is right, `finetune.measure` decides.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from bot import evidence, prompt, relevance, tokens, turn, wire, wiring
from bot.errors import PromptTooLong
from bot.parts import Bot
from bot.protocols import Retriever
from bot.settings import Settings
from bot.types import LANGUAGES, Citation, Hit, Language, Message, Passage
from finetune import measure
from finetune.data import Row, renumber
from finetune.measure import Measured, Result

RANKED = 10
"""Passages among which the row's own is looked for."""
GENERAL = Path(__file__).parent / "data/general.jsonl"


@runtime_checkable
class Weighs(Protocol):
    """An engine that can say how likely it holds a text; one behind HTTP cannot."""

    def loss(self, before: Sequence[Message] | str, after: str) -> tuple[float, int]:
        """Sum of the cross-entropies of the tokens of `after`, in nats, and how many they are."""
        ...


@dataclass(frozen=True, slots=True)
class Contender:
    """What is measured: the base alone, or with an adapter."""

    name: str
    adapter: Path | None


@dataclass(frozen=True, slots=True)
class Shop:
    """Where questions are asked: documents, settings and rows."""

    name: str
    """Its folder; empty for the sample shop."""
    settings: Settings
    passages: Mapping[str, Passage]
    rows: Sequence[Row]


class Watched:
    """A retriever whose last finds can be read; implements `bot.protocols.Retriever`."""

    def __init__(self, inner: Retriever) -> None:
        self._inner, self.generation = inner, inner.generation
        self.found: list[Hit] = []

    def search(self, query: str, *, language: Language, top_k: int, context: Sequence[str] = ()) -> list[Hit]:
        """The first `top_k` of more."""
        self.found = self._inner.search(query, language=language, top_k=max(top_k, RANKED), context=context)
        return self.found[:top_k]


async def hold(shops: Sequence[Shop], contenders: Sequence[Contender]) -> list[Measured]:
    """Tell every shop's rows for every contender, one engine at a time.

    Raises:
        ModelError: a base or adapter is missing or does not fit; nothing has been indexed or told.
    """
    first = shops[0].settings
    templates = wiring.templates(first)
    for contender in contenders:
        await wiring.engine(_with(first, contender), templates).aclose()
    bot = wiring.bot(_with(first, contenders[0]), progress=len(shops) == 1)
    engine, measured = bot.engine, []
    try:
        rest = tqdm(shops[1:], desc="indexing", unit="shop", disable=len(shops) == 1)
        retrievers = [bot.retriever, *(wiring.retriever(shop.settings) for shop in rest)]
        turns, several = sum(len(shop.rows) for shop in shops), len(shops) > 1
        total = len(contenders) * (len(shops) if several else turns)
        with tqdm(total=total, unit="shop" if several else "turn") as bar:
            for n, contender in enumerate(contenders):
                bar.set_description(contender.name)
                if n:
                    await engine.aclose()
                    engine = wiring.engine(_with(first, contender), templates)
                results = []
                for shop, retriever in zip(shops, retrievers, strict=True):
                    here = replace(
                        bot, engine=engine, retriever=retriever,
                        release=wiring.release(_with(shop.settings, contender), engine, retriever),
                        shop_names=dict.fromkeys(bot.shop_names, name) if (name := shop.settings.shop) else bot.shop_names,
                    )  # fmt: skip
                    for row in shop.rows:
                        results.append(replace(await run_row(here, row, shop.passages), shop=shop.name))
                        if not several:
                            bar.update()
                    if several:
                        bar.update()
                release = wiring.release(_with(first, contender), engine, bot.retriever)
                general = await asyncio.to_thread(general_loss, engine)
                measured.append(Measured(contender.name, release, tuple(results), general))
    finally:
        await engine.aclose()
        await bot.store.aclose()
    return measured


def _with(settings: Settings, contender: Contender) -> Settings:
    return settings.model_copy(update={"adapter": contender.adapter})


async def run_row(bot: Bot, row: Row, passages: Mapping[str, Passage]) -> Result:
    """Tell one row's turn, after its history."""
    watched = Watched(bot.retriever)
    bot = replace(bot, retriever=watched)
    conversation = await _told_before(bot, row)
    began = time.perf_counter()
    outcome = await turn.answer(bot, conversation, "q", emit=_unheard, announce=_unheard)
    seconds = time.perf_counter() - began
    last = (await bot.store.events(conversation))[-1].data
    shown = last["text"] if outcome != "handed_off" else ""
    citations = tuple(Citation(**data) for data in last.get("citations", []))
    cited = [passages[c.passage_id] for c in citations if c.passage_id in passages]
    found = [hit.passage.id for hit in watched.found]
    ranks = [found.index(p) + 1 for p in row.passages if p in found]
    body = evidence.MARK.sub("", shown)
    loss, weighed = await asyncio.to_thread(answer_loss, bot, row, watched.found[: bot.top_k])
    return Result(
        id=row.id, language=row.language, kind=row.kind, text=row.text, reference=row.answer, shown=shown,
        outcome=outcome, rank=min(ranks) if ranks else None,
        facts_right=measure.facts_right(row.answer, shown),
        unsupported=measure.unsupported(shown, cited) if outcome in ("answered", "quoted") else (),
        right_language=not body or wire.language_of(None, body) == row.language, seconds=seconds,
        history=tuple(m.content for m in row.history),
        citations=citations,
        loss=loss, tokens=weighed,
    )  # fmt: skip


async def _unheard(*_: Any) -> None:
    """Nobody listens."""


async def _told_before(bot: Bot, row: Row) -> str:
    """A conversation in the store with the row's history and question; its id."""
    store = bot.store
    conversation = await store.create(
        site="evaluate", locale=row.language, shopper_id=None, resume_hash=tokens.new_secret()[1]
    )
    for n, message in enumerate(row.history):
        if message.role == "user":
            asked = f"h_{n}"
            await store.append_message(conversation.id, client_id=asked, message_id=asked, text=message.content)
        else:
            data = {"message_id": f"a_{n}", "text": message.content, "citations": [], "outcome": "answered"}
            await store.complete(
                conversation.id, message_id=f"h_{n - 1}", outcome="answered", type="message.completed", data=data,
                epoch=1,
            )  # fmt: skip
    await store.append_message(conversation.id, client_id="q", message_id="q", text=row.text)
    return conversation.id


def answer_loss(bot: Bot, row: Row, hits: Sequence[Hit]) -> tuple[float | None, int]:
    """How unlikely the engine holds the row's answer under the prompt that these hits make; see `Weighs.loss`.

    None where that cannot be said: the prompt lacks a passage that the answer stands on, or the engine cannot.
    """
    if not isinstance(bot.engine, Weighs):
        return None, 0
    try:
        messages, kept = prompt.fit(
            bot.templates[row.language], shop=bot.shop_names[row.language], history=row.history, text=row.text,
            passages=[hit.passage for hit in hits], nearest=relevance.nearest(hits, prompt.NEAREST),
            count=bot.engine.count, budget=bot.prompt_tokens,
        )  # fmt: skip
    except PromptTooLong:
        return None, 0
    ids = [passage.id for passage in kept]
    if not set(row.passages) <= set(ids):
        return None, 0
    return bot.engine.loss(messages, renumber(row.answer, [ids.index(p) + 1 for p in row.passages]))


def general_loss(engine: object, path: Path = GENERAL) -> dict[str, float | None]:
    """Loss a token on sentences that have nothing to do with shops, by language: what an adapter unlearns, it gains here."""
    if not isinstance(engine, Weighs):
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        language: measure.mean_loss(
            engine.loss(line["prompt"], line["continuation"]) for line in lines if line["language"] == language
        )
        for language in LANGUAGES
    }
