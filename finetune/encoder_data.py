"""What encoders learn from: a shop's questions with the passages that answer them. Knows neither tokenizer nor model.

Pairs of neighbouring texts from 24 MB of public Chinese prose, learnt first, changed nothing on the shop's questions
and made FAQ retrieval in another domain no better (hit@1 0.77 with and 0.79 without on valid rows, 2026-11-23).
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bot.retrieval.questions import question_of
from bot.retrieval.shelf import views_of
from bot.types import Language, Passage
from finetune import shops


@dataclass(frozen=True, slots=True)
class ShopTexts:
    """A shop's passages and the questions that each of them answers."""

    views: tuple[tuple[str, ...], ...]
    """Texts under which each passage is found: heading, whole text, then its rules."""
    questions: tuple[str, ...]
    owners: np.ndarray  # (Q,), the passage that answers each question

    def beside(self, other: ShopTexts) -> ShopTexts:
        """Both shops as one."""
        owners = np.concatenate([self.owners, other.owners + len(self.views)])
        return ShopTexts(self.views + other.views, self.questions + other.questions, owners)


def read_rows(path: Path, language: Language) -> list[dict[str, Any]]:
    """Rows of a language from finetune/data."""
    rows = map(json.loads, filter(str.strip, path.read_text("utf-8").splitlines()))
    return [row for row in rows if row["language"] == language]


def shop_texts(passages: Sequence[Passage], rows: Sequence[dict[str, Any]]) -> ShopTexts:
    """Passages with the questions of the rows that name them."""
    number = {passage.id: n for n, passage in enumerate(passages)}
    asked = [(question_of(row).full_text, number[id]) for row in rows for id in row["passages"] if id in number]
    return ShopTexts(
        tuple(tuple(views_of(passage)) for passage in passages),
        tuple(text for text, _ in asked),
        np.array([owner for _, owner in asked], dtype=np.int64),
    )


def with_invented(shop: ShopTexts, language: Language, seed: int) -> ShopTexts:
    """The shop's texts, and beside them rules of invented shops with their questions: words that this shop lacks."""
    rng = random.Random(f"{seed} {language}")
    known = shops.load_kinds()
    views, questions, owners = list(shop.views), list(shop.questions), shop.owners.tolist()
    for number in sorted(known.asked[language]):
        kind = known.kinds[language][number]
        rules = [shops.fill(rng, kind, number, rng.choice(kind.values), language) for _ in range(3)]
        for rule in rules:
            asked = rule.questions if rule is rules[0] or rule.value != rules[0].value else ()
            questions += asked
            owners += [len(views)] * len(asked)
        views.append(tuple(rule.text for rule in rules))
    return ShopTexts(tuple(views), tuple(questions), np.array(owners, dtype=np.int64))


def shop_batch(shop: ShopTexts, size: int, dice: random.Random) -> tuple[list[str], list[str], np.ndarray]:
    """Questions, and for each its passage's heading, text or one rule of it, or another question of the passage.

    Returns:
        The questions, their partners, and the passage of each  # (size,)
    """
    chosen = np.array(dice.sample(range(len(shop.questions)), min(size, len(shop.questions))))
    of_passage: dict[int, list[int]] = {}
    for row, owner in enumerate(shop.owners.tolist()):
        of_passage.setdefault(owner, []).append(row)
    partners = []
    for row in chosen.tolist():
        owner = int(shop.owners[row])
        heading, text, *rules = shop.views[owner]
        siblings = [other for other in of_passage[owner] if other != row]
        kind = dice.random()
        if kind < 0.25 and siblings:
            partners.append(shop.questions[dice.choice(siblings)])
        elif kind < 0.5:
            partners.append(heading)
        else:  # the rule that the answer quotes, always, was no better than any (2026-11-24)
            partners.append(dice.choice(rules) if rules and kind < 0.85 else text)
    return [shop.questions[row] for row in chosen], partners, shop.owners[chosen]
