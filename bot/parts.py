"""What a turn is told with: the parts behind their Protocols, and the values that shape an answer.

Knows no class that implements them: `bot/wiring.py` puts a `Bot` together.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot import prompt
from bot.protocols import Engine, Orders, Retriever, SentimentModel, Store
from bot.types import Event, Language, Release

Emit = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Tells listeners of something that is not in the log: (frame type, data)."""
Announce = Callable[[Event], Awaitable[None]]
"""Tells listeners of an event that has been committed."""


@dataclass(frozen=True)
class Bot:
    """The parts of a turn, and the values that shape it."""

    engine: Engine
    retriever: Retriever
    sentiment: SentimentModel
    orders: Orders
    store: Store
    templates: Mapping[Language, prompt.Templates]
    release: Release
    shop_names: Mapping[Language, str]
    order_pattern: re.Pattern[str]
    top_k: int = 3
    min_score: float = 0.5
    """A passage below this probability is no evidence, 0 to 1."""
    min_rule: float = 0.4
    """A rule below this probability is quoted, not answered with, 0 to 1."""
    min_overlap: float | None = None
    """Share of an answer's words that its rule must hold; None leaves it to bot.evidence; 1 says the rule itself."""
    model_may_abstain: bool = False
    """Whether a model that says it does not know is believed, although the search found evidence."""
    prompt_tokens: int = 1024
    max_tokens: int = 160
    turn_timeout_s: float = 60.0
