"""What the base model practises when: pools of items, easy ones first, made in a process of their own.

A pool is decided by the seed, its number and how far the run has come, so a resumed run goes on
with the same items. Knows no model.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import AutoTokenizer

from bot.prompt import load_templates
from bot.retrieval.documents import load_documents
from bot.types import LANGUAGES, Language
from finetune import shops
from finetune.config import Config
from finetune.corpus import Pair, read_pairs, read_prose
from finetune.data import Library, examples, read_rows
from finetune.tasks import Item, Scribe, asked_by_people, match_and_copy, plain_text, repeated_noise

HELD_OUT = 50
"""Every fiftieth document and question is kept for the probe."""

MIX = (  # until this share of the run: weights of noise, text, prose, people's questions, shops, rows; sentences at most
    (0.40, (0.00, 0.03, 0.37, 0.05, 0.55, 0.00), 3),
    (0.60, (0.00, 0.03, 0.30, 0.10, 0.47, 0.10), 5),
    (0.75, (0.00, 0.03, 0.27, 0.10, 0.45, 0.15), 8),
    (1.01, (0.00, 0.03, 0.20, 0.10, 0.45, 0.22), 13),
)
"""Easy first: two or three rules to choose from, later a whole passage. Rows count only where `--rows` names some."""


@dataclass
class Practice:
    """Texts, tokenizer and invented shops, ready to make items of."""

    data: Path
    tokenizer_folder: Path
    prompts: Path
    knowledge: Path | None = None
    rows: Path | None = None
    """Question-answer rows to practise on as well, and the documents that they are about."""
    held_out: bool = False
    """True makes items of what the other half never shows."""
    prose: dict[Language, list[str]] = field(init=False)
    pairs: dict[Language, list[Pair]] = field(init=False)

    def __post_init__(self) -> None:
        keep = (lambda i: i % HELD_OUT == 0) if self.held_out else (lambda i: i % HELD_OUT != 0)
        self.prose = {k: [d for i, d in enumerate(v) if keep(i)] for k, v in read_prose(self.data).items()}
        self.pairs = {k: [p for i, p in enumerate(v) if keep(i)] for k, v in read_pairs(self.data).items()}
        self.tokenizer = AutoTokenizer.from_pretrained(self.tokenizer_folder)
        self.scribe = Scribe(self.tokenizer, load_templates(self.prompts))
        self.shops = shops.load_kinds(held_out=self.held_out)
        self.library = Library(load_documents(self.knowledge)) if self.rows and self.knowledge else None
        self.asked = read_rows(self.rows, self.library.by_id) if self.rows and self.library else []
        self._made: list[Item] = []
        vectors = self.tokenizer_folder / "run/meaning.pt"
        self.near = near_words(self.tokenizer, torch.load(vectors)) if vectors.is_file() else lambda word: word

    def item(self, rng: random.Random, kind: str, size: int) -> Item | None:
        """One item of a kind, or None where the texts drawn yield none."""
        language = rng.choice(LANGUAGES)
        match kind:
            case "noise":
                return repeated_noise(rng, len(self.tokenizer), rng.randint(20, 20 * size))
            case "text":
                return plain_text(self.tokenizer, rng.choice(self.prose[language]), 400)
            case "prose":
                documents = rng.sample(self.prose[language], rng.randint(2, 4))
                return match_and_copy(rng, self.scribe, documents, language, size, self.near)
            case "people":
                pairs = self._pairs(rng, language if rng.random() < 0.3 else "en", min(size, 7))
                return asked_by_people(rng, self.scribe, pairs, "zh" if pairs[0].source == "purifier" else "en")
            case "rows":
                return self._row_item(rng)
            case _:
                return shops.shop_item(rng, self.scribe, self.shops, language, size)

    def _row_item(self, rng: random.Random) -> Item | None:
        """Some rows about the same passages, as fine-tuning would show them, with other numbers."""
        if not self.asked or self.library is None:
            return None
        if not self._made:
            self._made = examples(
                rng.sample(self.asked, min(400, len(self.asked))), self.library, self.scribe, Config(),
                f"{rng.random()}", fold=True, shake=True,
            ).items  # fmt: skip
        return self._made.pop()

    def _pairs(self, rng: random.Random, language: Language, count: int) -> list[Pair]:
        pool = self.pairs[language] if len(self.pairs[language]) > 10 else self.pairs["en"]
        first = rng.choice(pool)
        start = rng.randrange(len(pool))
        alike = [p for p in (pool[start:] + pool[:start])[:2000] if p.source == first.source or rng.random() < 0.01]
        found = {p.topic: p for p in [*rng.sample(alike, min(len(alike), 40)), first]}
        return rng.sample(list(found.values()), min(len(found), count + 1))

    def pool(self, seed: int, number: int, progress: float, count: int, longest: int) -> list[Item]:
        """`count` items as this share of the run asks for."""
        rng = random.Random(f"{seed} {number}")
        weights, size = next((w, s) for until, w, s in MIX if progress < until)
        kinds = ("noise", "text", "prose", "people", "shops", "rows")
        items: list[Item] = []
        while len(items) < count:
            item = self.item(rng, rng.choices(kinds, weights)[0], rng.randint(2, size))
            if item is not None and len(item) <= longest and item.branches:
                items.append(item)
        return items

    def probes(self, count: int) -> dict[str, list[Item]]:
        """Held-out items by name, the same at every call."""
        found: dict[str, list[Item]] = {}
        for kind in ("prose", "people", "shops"):
            rng = random.Random(f"probe {kind}")
            items: list[Item] = []
            while len(items) < count:
                item = self.item(rng, kind, 8)
                if item is not None and len(item) < 900:
                    items.append(item)
            found[kind] = items
        return found


def near_words(tokenizer, vectors: torch.Tensor, count: int = 6) -> Callable[[str], str]:
    """A function that gives another English word which keeps the same company."""
    words = {
        i: t[1:] for t, i in tokenizer.get_vocab().items() if t.startswith("Ġ") and t[1:].isalpha() and len(t) > 3
    }
    ids = torch.tensor(sorted(words))
    close = ids[(vectors[ids] @ vectors[ids].T).topk(count + 1).indices[:, 1:]]  # (words, count)
    table = {words[i]: [words[j] for j in row] for i, row in zip(ids.tolist(), close.tolist(), strict=True)}

    def near(word: str) -> str:
        others = table.get(word.lower())
        return others[hash_of(word) % len(others)] if others else word

    return near


def hash_of(word: str) -> int:
    """A number that is the same in every process, unlike `hash`."""
    return sum(ord(c) * 31**i for i, c in enumerate(word[:12]))
