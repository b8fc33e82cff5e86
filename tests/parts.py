"""The parts that tests put a bot together from: shipped twins, and small models of the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bot import prompt, tokens
from bot.engine.scripted import ScriptedEngine
from bot.errors import EngineError, StoreError
from bot.evidence import overlap
from bot.parts import Bot
from bot.settings import ROOT
from bot.store.sql import open_store
from bot.types import Hit, Language, Mood, Order, Passage, Release

TEMPLATES = prompt.load_templates(ROOT / "prompts")

SHIPPING = Passage(
    "en/policy/shipping#Costs", "en/policy/shipping", "Shipping", "Costs",
    "- Standard delivery takes 3 to 5 business days and costs $5.95.\n"
    "- Express delivery takes 1 to 2 business days and costs $14.95.",
    "en", "/help/shipping",
)  # fmt: skip
RETURNS = Passage(
    "en/policy/returns#Window", "en/policy/returns", "Returns", "Window",
    "- Items can be returned within 30 days of delivery.", "en",
)  # fmt: skip
SHIPPING_ZH = Passage(
    "zh/policy/shipping#时效", "zh/policy/shipping", "配送", "发货时效",
    "- 现货商品在付款后48小时内发货。\n- 满99元包邮，不足99元收8元运费。", "zh",
)  # fmt: skip
PASSAGES = (SHIPPING, RETURNS, SHIPPING_ZH)


class WordRetriever:
    """Scores a passage by the share of the query's words that it holds."""

    generation = "words"

    def search(self, query: str, *, language: Language, top_k: int, context: Sequence[str] = ()) -> list[Hit]:
        found = [Hit(p, overlap(query, f"{p.title} {p.heading} {p.text}")) for p in PASSAGES if p.language == language]
        return sorted(found, key=lambda hit: -hit.score)[:top_k]


class ExclamationMood:
    """Anger is the number of exclamation marks, three at most."""

    def predict(self, texts: Sequence[str]) -> list[Mood]:
        return [Mood(1 - a, 0.0, a) for a in (min(3, text.count("!") + text.count("！")) / 3 for text in texts)]


class OneOrder:
    """One shopper's one order."""

    order = Order(
        "FH50213877", "shopper-1",
        {"en": ("Order FH50213877 was shipped on 2026-11-18 with UPS.",),
         "zh": ("订单FH50213877已于2026-11-18由UPS发出。",)},
    )  # fmt: skip

    def lookup(self, number: str, shopper_id: str) -> Order | None:
        return self.order if (number, shopper_id) == (self.order.number, self.order.shopper_id) else None

    def recent(self, shopper_id: str, limit: int = 3) -> list[Order]:
        return [self.order] if shopper_id == self.order.shopper_id else []


class BrokenEngine(ScriptedEngine):
    """Fails at the first token."""

    async def stream(self, messages, *, max_tokens, only=()):
        raise EngineError("out of memory at /srv/secret")
        yield ""


class Flaky:
    """A store whose methods fail: `failing` before they do anything, `lost` once they have done it; so many times each."""

    def __init__(self, store):
        self.store, self.failing, self.lost = store, {}, {}
        self.calls = []

    def __getattr__(self, name):
        async def call(*args, **named):
            self.calls.append(name)
            if self._fails(self.failing, name):
                raise StoreError("the database is away")
            result = await getattr(self.store, name)(*args, **named)
            if self._fails(self.lost, name):
                raise StoreError("the database went away")
            return result

        return call

    def _fails(self, left, name):
        left[name] = left.get(name, 0) - 1
        return left[name] >= 0


def make_bot(folder: Path, *, engine=None, store=None, retriever=None, **values) -> Bot:
    """A bot over a SQLite file in `folder`, or another store."""
    return Bot(
        engine=engine or ScriptedEngine(TEMPLATES),
        retriever=retriever or WordRetriever(),
        sentiment=ExclamationMood(),
        orders=OneOrder(),
        store=store or Flaky(open_store(f"sqlite:///{folder / 'bot.db'}")),
        templates=TEMPLATES,
        release=Release("scripted", "", "f", "words", "r", "release-1"),
        shop_names={"en": "Fernhill", "zh": "蕨岭"},
        order_pattern=re.compile(r"\bFH\d{8}\b", re.IGNORECASE | re.ASCII),
        **{"min_score": 0.3, "prompt_tokens": 4000, **values},
    )


async def start(bot: Bot, text: str, *, shopper: str | None = None, conversation: str | None = None):
    """A shopper's message in the log: (conversation id, message id)."""
    if conversation is None:
        created = await bot.store.create(site="t", locale="en", shopper_id=shopper, resume_hash=tokens.new_secret()[1])
        conversation = created.id
    message_id = f"m_{abs(hash((conversation, text, len(await bot.store.events(conversation)))))}"
    await bot.store.append_message(conversation, client_id=message_id, message_id=message_id, text=text)
    return conversation, message_id
