"""What the search's probabilities say: whether anything answers, which rules do, and which lines to quote.

Pure functions over hits and the question's words; a hit's own lines are its rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.types import Citation, Hit, Language

MAY_ANSWER = 0.1
"""A rule that answers by this probability is told beside the likeliest; `finetune evaluate --split valid`
shows how many facts are then heard."""


def enough(hits: Sequence[Hit], min_score: float, *, has_order: bool) -> list[Hit]:
    """All hits if the best one passes the threshold, else none; beside an order only those that pass."""
    if has_order:
        return [hit for hit in hits if hit.score >= min_score]
    return list(hits) if hits and hits[0].score >= min_score else []


def asks_twice(text: str, language: Language) -> bool:
    """Whether a message asks two things: two of its parts are long enough and ask.

    Of the training and valid rows it names 55 % (en) and 67 % (zh) of the two questions in one, and 7 and 14 % of the
    single ones (2026-11-25).
    """
    parts = _CUT[language].split(text)
    return sum(len(part.strip()) >= _PART[language] and bool(_ASKS[language].search(part)) for part in parts) >= 2


_PART: dict[Language, int] = {"en": 10, "zh": 4}
_CUT: dict[Language, re.Pattern[str]] = {
    "en": re.compile(r"[?!.;,]+|\b(?:and|also|plus)\b", re.IGNORECASE),
    "zh": re.compile(r"[，。？！；、,?!; ]+|还有|另外|顺便|以及"),
}
_ASKS: dict[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:whats?|hows?|when|where|which|who|why|can|could|do|does|did|is|are|will|would|may|any)\b", re.IGNORECASE
    ),
    "zh": re.compile(r"吗|么|呢|多少|几|怎么|咋|哪|什么|啥|多久|能|可以|是否|有没有|谁|不"),
}


def is_relevant(citation: Citation, hits: Sequence[Hit], least: float) -> bool:
    """Whether the question is about the cited rules: each may answer it, and the best rule of all does by `least`.

    A small model may say a rule exactly and yet the wrong one; the search knows what the question is about.
    Hits whose rules were not rated, such as orders, are all relevant.
    """
    hit = hits[citation.n - 1]
    if not hit.rules:
        return True
    said = set(citation.quote.splitlines())
    rated = [p for line, p in zip(hit.passage.text.splitlines(), hit.rules, strict=True) if line in said]
    return min(rated, default=1.0) >= min(MAY_ANSWER, least) and max(p for h in hits for p in h.rules) >= least


def nearest(hits: Sequence[Hit], count: int) -> list[tuple[int, str]]:
    """(Passage's number from 1, rule) of the rules that may answer, the likeliest first, at least one."""
    rated = sorted(
        (-probability, n, line)
        for n, hit in enumerate(hits, 1)
        for line, probability in zip(hit.passage.text.splitlines(), hit.rules, strict=False)
    )
    return [(n, line) for place, (p, n, line) in enumerate(rated[:count]) if place == 0 or -p >= MAY_ANSWER]


def sayable(hits: Sequence[Hit], count: int) -> list[tuple[int, str]]:
    """(Passage's number from 1, rule) of the nearest rules; of an order, whose rules were not rated, if there is one."""
    unrated = [(n, line) for n, hit in enumerate(hits, 1) if not hit.rules for line in hit.passage.text.splitlines()]
    return unrated or nearest(hits, count)


def quotations(hits: Sequence[Hit], share: float, most: int) -> list[tuple[int, str]]:
    """(Passage's number from 1, its lines to quote, in its order) of the passages that have any.

    Quoted are the likeliest lines of all, until they hold `share` of the probability or are `most`; a passage whose
    lines were not rated, such as an order, is quoted whole, and small talk never.
    """
    cited = [(n, hit) for n, hit in enumerate(hits, 1) if hit.passage.cite]
    rated = sorted((-p, n, i) for n, hit in cited for i, p in enumerate(hit.rules))
    total, held, chosen = -sum(p for p, _, _ in rated), 0.0, set[tuple[int, int]]()
    for p, n, i in rated[:most]:
        if held >= share * total:
            break
        held -= p
        chosen.add((n, i))
    lines = {n: enumerate(hit.passage.text.splitlines()) for n, hit in cited}
    quoted = [(n, "\n".join(line for i, line in lines[n] if not hit.rules or (n, i) in chosen)) for n, hit in cited]
    return [(n, text) for n, text in quoted if text]
