"""Rows of questions and answers to examples: the passages that would have been found, the answer renumbered.

finetune/README.md shows a row; `finetune.grounding` makes rows of other files. Every example is rendered by `bot.prompt`, as it is served.
Knows no model; a tokenizer is handed in.
"""

from __future__ import annotations

import difflib
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bot.errors import DocumentError
from bot.types import LANGUAGES, Language, Message, Passage
from finetune.config import Config
from finetune.formats import read_records
from finetune.tasks import Item, Question, Scribe

FIELDS = ("id", "language", "kind", "history", "text", "passages", "answer")
CITATION = re.compile(r"\[(\d+)\]")
TOGETHER = 8
"""Questions at most that are asked about one context."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question with its answer, as saved."""

    id: str
    language: Language
    kind: str
    history: tuple[Message, ...]
    text: str
    passages: tuple[str, ...]
    answer: str
    where: str = ""
    """`<file>:<line>`."""


class PassageGone(ValueError):
    """A row names a passage that no document holds."""


def read_rows(path: Path, known: Mapping[str, Passage]) -> list[Row]:
    """Read one split.

    Args:
        known: passages by id.

    Raises:
        DocumentError: no such file, or broken rows; one message names every file, line and reason.
    """
    if not path.is_file():
        raise DocumentError(f"{path} does not exist; finetune/README.md shows what a row looks like.")
    records, problems = read_records(path)
    rows, seen = [], set()
    for record in records:
        try:
            row = row_of(record.data, known, record.where)
            if row.id in seen:
                raise ValueError(f"the id {row.id} stands above already; give every row its own")
            seen.add(row.id)
            rows.append(row)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(f"{record.where}: {error}.")
    if problems:
        raise DocumentError("\n".join(problems))
    return rows


def row_of(data: Any, known: Mapping[str, Passage], where: str = "") -> Row:
    """A record as a row.

    Raises:
        PassageGone: nothing is wrong but a passage that is not known.
        ValueError: the record is broken; the text says how.
    """
    if not isinstance(data, dict):
        raise ValueError("a row is an object in braces")
    if missing := [key for key in FIELDS if key not in data]:
        raise ValueError(f"the row lacks {', '.join(f'`{key}`' for key in missing)}")
    if data["language"] not in LANGUAGES:
        raise ValueError(f"`language` is {data['language']!r}; it must be one of {', '.join(LANGUAGES)}")
    for key in ("text", "answer"):
        if not isinstance(data[key], str) or not data[key].strip():
            raise ValueError(f"`{key}` must be a text that is not empty")
    for n in map(int, CITATION.findall(data["answer"])):
        if not 1 <= n <= len(data["passages"]):
            raise ValueError(f"the answer cites [{n}], but the row has {len(data['passages'])} passages")
    history = tuple(Message(m["role"], m["content"]) for m in data["history"])
    for id in data["passages"]:
        if id not in known:
            near = difflib.get_close_matches(str(id), known, 1)
            hint = f"the nearest is {near[0]!r}" if near else "it is `<lang>/<category>/<name>#<heading>`"
            raise PassageGone(f"no passage has the id {id!r}; {hint}")
    return Row(
        str(data["id"]), data["language"], data["kind"], history, data["text"], tuple(data["passages"]),
        data["answer"], where,
    )  # fmt: skip


@dataclass(frozen=True)
class Library:
    """All passages, and which of them a retriever would take for each other."""

    passages: Sequence[Passage]
    by_id: Mapping[str, Passage] = field(init=False)
    _words: Mapping[str, Counter[str]] = field(init=False)
    _weight: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        words = {p.id: Counter(set(pieces(f"{p.title} {p.heading} {p.text}"))) for p in self.passages}
        seen = Counter(word for found in words.values() for word in found)
        object.__setattr__(self, "by_id", {p.id: p for p in self.passages})
        object.__setattr__(self, "_words", words)
        object.__setattr__(self, "_weight", {w: math.log(1 + len(words) / n) for w, n in seen.items()})

    def alike(self, text: str, language: Language, leave_out: Sequence[str], count: int) -> list[Passage]:
        """Passages of this language that share the rarest words with `text`, best first."""
        wanted = set(pieces(text))
        scored = [
            (
                sum(self._weight[w] for w in wanted if w in self._words[p.id]) / (8 + len(self._words[p.id])) ** 0.5,
                p.id,
            )
            for p in self.passages
            if p.language == language and p.id not in leave_out
        ]
        return [self.by_id[id] for _, id in sorted(scored, reverse=True)[:count]]


def pieces(text: str) -> list[str]:
    """Words of Latin script and pairs of Chinese characters."""
    text = text.lower()
    return re.findall(r"[a-z]{3,}", text) + [
        run[i : i + 2] for run in re.findall(r"[\u4e00-\u9fff]{2,}", text) for i in range(len(run) - 1)
    ]


def shown(
    rng: random.Random, rows: Sequence[Row], library: Library, config: Config
) -> tuple[list[Passage], list[int]]:
    """The passages that rows about the same ones are shown, and where each of their own came to stand.

    Returns:
        The passages, and for each of the rows' own passages its number there, from 1.
    """
    first = rows[0]
    own = [library.by_id[id] for id in first.passages]
    text = " ".join([*(row.text for row in rows[:2]), *(m.content for m in first.history[-1:])])
    near = library.alike(text, first.language, first.passages, 6)
    far = [
        p for p in library.passages if p.language == first.language and p.id not in first.passages and p not in near
    ]
    others = [rng.choice(far) if far and rng.random() < 0.3 else near.pop(rng.randrange(min(4, len(near))))
              for _ in range(min(config.passages, len(near)))]  # fmt: skip
    others = list(dict.fromkeys(others))
    if not own:
        return others[: rng.choice((0, 1, config.passages, config.passages))], []
    count = rng.choice((len(own), config.passages, config.passages))
    passages = [*own, *others][: max(count, len(own))]
    if rng.random() >= config.gold_first:
        rng.shuffle(passages)
    return passages, [passages.index(p) + 1 for p in own]


def renumber(answer: str, places: Sequence[int]) -> str:
    """The answer with its citations, which count the row's passages, turned to the shown order."""
    return CITATION.sub(lambda found: f"[{places[int(found[1]) - 1]}]", answer)


def shaken(
    rng: random.Random, passages: Sequence[Passage], questions: Sequence[Question]
) -> tuple[list[Passage], list[Question]]:
    """The same item with other numbers, alike in passages, questions and answers: nothing of it can be known by heart."""
    new: dict[str, str] = {}

    def other(found: re.Match[str]) -> str:
        digits = found[0]
        if digits not in new:
            new[digits] = str(rng.randrange(1, 10)) + "".join(str(rng.randrange(10)) for _ in digits[1:])
        return new[digits]

    def shake(text: str) -> str:
        return re.sub(r"(?<!\[)\d+(?!\])", other, text)

    return (
        [replace(p, heading=shake(p.heading), text=shake(p.text)) for p in passages],
        [Question(shake(q.text), shake(q.answer), q.history) for q in questions],
    )


@dataclass(frozen=True, slots=True)
class Examples:
    """What an epoch learns, and the rows that were too long for it."""

    items: list[Item]
    rows: int
    too_long: list[Row]


def examples(
    rows: Sequence[Row], library: Library, scribe: Scribe, config: Config, seed: str, fold: bool, shake: bool = False
) -> Examples:
    """Render rows, with other distractors and another order at every `seed`.

    Args:
        shake: change the numbers.
        fold: put the questions about one context into one item; otherwise every row is an item of its own.
    """
    rng = random.Random(seed)
    rows = [row for row in rows if row.passages or config.abstain]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rng.sample(rows, len(rows)):
        groups.setdefault((row.language, row.passages, row.history), []).append(row)
    size = TOGETHER if fold else 1
    waiting = [g[start : start + size] for g in groups.values() for start in range(0, len(g), size)][::-1]
    items, too_long, kept = [], [], 0
    while waiting:
        part = waiting.pop()
        passages, places = shown(rng, part, library, config)
        questions = [Question(r.text, renumber(r.answer, places), r.history) for r in part]
        language = part[0].language
        if shake and not part[0].history:
            passages, questions = shaken(rng, passages, questions)
        item = scribe.write(shop_of(config, language), passages, questions, language, seed)
        if len(item) <= config.longest:
            kept += len(part)
            items.append(item)
        elif len(part) > 1:  # Too long together need not be too long apart.
            waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
        else:
            too_long += part
    rng.shuffle(items)
    return Examples(items, kept, too_long)


def shop_of(config: Config, language: Language) -> str:
    """The shop's name in this language."""
    return config.shop_en if language == "en" else config.shop_zh
