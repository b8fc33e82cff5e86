"""What a reranker learns from: questions, each with rules that answer it and rules that do not.

The shop's own rows; invented shops, so that it learns reading and not this shop by heart; and public English questions.
Knows neither encoder nor network, but for the vectors that it is handed.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bot import evidence
from bot.retrieval.questions import question_of
from bot.retrieval.reranker import rule_text
from bot.types import Language, Passage
from finetune import shops
from finetune.corpus import read_pairs

NEAR = 24
"""Rules nearest to a question that are kept as what it might be taken for."""
INVENTED = 6000
"""Questions about rules of invented shops."""
PUBLIC = 6000
"""Public questions with their answers."""


@dataclass(frozen=True, slots=True)
class Group:
    """One question."""

    question: str
    right: tuple[str, ...]
    """Rules that answer it; empty if none does."""
    wrong: tuple[str, ...]
    """Rules that do not, nearest first."""
    beside: tuple[str, ...] = ()
    """Those of them that stand in the same passage as a right one."""

    def texts(self) -> Iterator[str]:
        """Everything that must be encoded."""
        yield from (self.question, *self.right, *self.wrong, *self.beside)


def right_rules(row: Mapping[str, Any], passages: Mapping[str, Passage]) -> list[tuple[str, str]]:
    """(Passage's id, line) of the rules that a row's answer says."""
    own = [passages[id] for id in row["passages"] if id in passages]
    found: list[tuple[str, str]] = []
    for sentence in evidence.sentences(row["answer"]):
        if not own:
            break
        if support := evidence.check(sentence, own):
            found += [(c.passage_id, line) for c in support.citations for line in c.quote.splitlines()]
        if all(not passage.cite for passage in own):  # small talk is said, and not cited
            found += [(passage.id, line) for passage in own for line in evidence.rules(passage)]
    return list(dict.fromkeys(found))


def read_as(row: Mapping[str, Any]) -> str:
    """A row's question as the search would read it: a follow-up under the message before."""
    question = question_of(dict(row))
    return question.full_text if row["kind"] == "follow_up" else question.text


def shop_groups(rows: Sequence[Mapping[str, Any]], passages: Sequence[Passage], encode: Any) -> list[Group]:
    """The shop's questions against all its rules.

    Args:
        rows: of one language, as are the passages.
        encode: texts to unit vectors, to find which rules a question might be taken for.
    """
    by_id = {passage.id: passage for passage in passages}
    rules = [(p.id, line) for p in passages for line in evidence.rules(p)]
    texts = [rule_text(by_id[id].heading, line) for id, line in rules]
    number = {rule: n for n, rule in enumerate(rules)}
    questions = [read_as(row) for row in rows]
    order = np.argsort(-(encode(questions) @ encode(texts).T), axis=1, kind="stable")
    found = []
    for row, question, near in zip(rows, questions, order.tolist(), strict=True):
        right = [number[rule] for rule in right_rules(row, by_id)]
        if row["passages"] and not right:
            continue
        beside = [n for n, (id, _) in enumerate(rules) if id in row["passages"] and n not in right]
        wrong = [n for n in near if n not in right][:NEAR]
        found.append(Group(question, *(tuple(texts[n] for n in numbers) for numbers in (right, wrong, beside))))
    return found


def invented_groups(language: Language, seed: int) -> list[Group]:
    """Questions about invented shops: a right rule in four of five, the same kind with other values among the wrong."""
    rng = random.Random(f"{seed} {language}")
    known = shops.load_kinds()
    kinds, heads = known.kinds[language], shops.WORDS[language]["head"]

    def written(number: int, value: str) -> str:
        return rule_text(rng.choice(heads), shops.fill(rng, kinds[number], number, value, language).text)

    pool = [(n, written(n, rng.choice(kind.values))) for _ in range(3) for n, kind in enumerate(kinds)]
    found = []
    asked = sorted(known.asked[language])
    for number in asked * -(-INVENTED // len(asked)):
        kind = kinds[number]
        value = rng.choice(kind.values)
        rule = shops.fill(rng, kind, number, value, language)
        apart = all("{e}" in question for question in kind.questions)
        others = [written(number, other) for other in kind.values if apart and other != value][:2]
        # Kinds that stand near in the file are about the same thing: half of the wrong rules are such.
        near = [written(n, rng.choice(kinds[n].values)) for n in neighbours(number, len(kinds), 6)]
        wrong = [*others, *near, *(text for n, text in rng.sample(pool, 8) if n != number)]
        right = (rule_text(rng.choice(heads), rule.text),) if rng.random() < 0.8 else ()
        question = shops.ask(rng, rng.choice(rule.questions), language)
        found.append(Group(question, right, tuple(wrong), (*others, *near[:2])))
    return found


def neighbours(number: int, count: int, size: int) -> list[int]:
    """The numbers nearest to one, without it."""
    return sorted((n for n in range(count) if n != number), key=lambda n: abs(n - number))[:size]


def public_groups(folder: Path, seed: int) -> list[Group]:
    """English questions that people asked, with what answers them and what was said beside it."""
    rng = random.Random(seed)
    pairs = read_pairs(folder)["en"]
    alike = defaultdict(list)
    for pair in pairs:
        alike[pair.source].append(pair)
    found = []
    for pair in rng.sample(pairs, min(PUBLIC, len(pairs))):
        if pair.source == "support" and rng.random() < 0.6:
            continue
        others = rng.sample(alike[pair.source], min(24, len(alike[pair.source])))
        wrong = [other.statement for other in others if other.topic != pair.topic]
        found.append(Group(pair.question, (pair.statement,), tuple(wrong[: 5 if pair.source == "support" else 14])))
    return [*found, *_products(folder / "en/amazon_product_qa/ePQA/dev.csv")]


def _products(path: Path) -> Iterator[Group]:
    """ePQA: what a product's page holds, judged 2 where it answers a question and 0 where it does not."""
    if not path.is_file():
        return
    judged: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            judged[row["question"]].append((row["candidate"][:250], row["label"]))
    for question, candidates in judged.items():
        right, wrong = (tuple(text for text, label in candidates if label == which) for which in ("2", "0"))
        yield Group(question, right[:3], wrong)
