"""What is read before a turn answers: the mood, the search and the orders asked about, together.

Knows the parts behind their Protocols only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bot import relevance
from bot.asked_orders import find_orders, order_passage
from bot.history import Told
from bot.parts import Bot
from bot.types import Conversation, Hit, Language, Mood


@dataclass(frozen=True)
class Found:
    """What was read before answering."""

    mood: Mood
    hits: tuple[Hit, ...]
    """Evidence, best first; empty if nothing passed the threshold."""
    order_missing: bool = False
    """An order was named, and is none of this shopper's."""


async def look(bot: Bot, conversation: Conversation, told: Told, language: Language) -> Found:
    """Read the mood, search and look up the order, together."""
    mood, hits, (orders, missing) = await asyncio.gather(
        asyncio.to_thread(bot.sentiment.predict, [told.text]),
        asyncio.to_thread(
            bot.retriever.search, told.text, language=language, top_k=bot.top_k, context=told.questions[:-1][-2:]
        ),
        asyncio.to_thread(find_orders, bot.orders, bot.order_pattern, conversation.shopper_id, told.text),
    )
    kept = [Hit(order_passage(order, language), 1.0) for order in orders]
    if not missing:
        kept += relevance.enough(hits, bot.min_score, has_order=bool(orders))
    return Found(mood[0], tuple(kept[: bot.top_k]), missing)
