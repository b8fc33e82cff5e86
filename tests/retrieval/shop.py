"""A made-up shop of six passages, and an encoder that needs no weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bot.retrieval.calibration import Calibration, Weights
from bot.retrieval.keyword import terms
from bot.types import Language

DOCUMENTS: dict[str, dict[str, str]] = {
    "en/policy/shipping": {
        "Delivery times": "- Standard delivery takes 3 days.\n- Express delivery takes 1 day.",
        "Costs": "- Standard delivery costs $5.95.\n- Express delivery costs $14.95.",
    },
    "en/policy/returns": {
        "Return window": "- Items can be returned within 30 days.",
        "Refunds": "- The money comes back to the card within 7 days.",
    },
    "zh/policy/shipping": {
        "配送时效": "- 普通快递3天送达。\n- 顺丰1天送达。",
        "运费": "- 满99元包邮。",
    },
}

QUESTIONS = [
    ("en", "how fast will my parcel get here", ["en/policy/shipping#Delivery times"]),
    ("en", "what is the postage", ["en/policy/shipping#Costs"]),
    ("en", "can I send it back", ["en/policy/returns#Return window"]),
    ("en", "do you sell bicycles", []),
    ("zh", "几天能到", ["zh/policy/shipping#配送时效"]),
    ("zh", "卖自行车吗", []),
]


class WordEncoder:
    """Texts as the sum of random vectors of their terms: the same words are near, others are not."""

    def __init__(self, language: Language, name: str = "words") -> None:
        self.language: Language = language
        self.fingerprint = f"{name}-{language}"
        self.encoded: list[str] = []
        """Every text that was ever asked for."""

    def encode(self, texts: Sequence[str], *, progress: str | None = None) -> np.ndarray:
        self.encoded += texts
        return np.stack([self._vector(text) for text in texts]) if texts else np.zeros((0, 64), np.float32)

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.stack([self._vector(term) for term in terms(text, self.language) or [""]]) for text in texts]

    def _vector(self, text: str) -> np.ndarray:
        total = np.full(64, 1e-6, np.float32)
        for term in set(terms(text, self.language)):
            seed = int(hashlib.sha256(term.encode()).hexdigest()[:8], 16)
            total += np.random.default_rng(seed).normal(size=64).astype(np.float32)
        return total / np.linalg.norm(total)


class WordReranker:
    """Log-odds grow with the share of the query's terms that a rule holds."""

    fingerprint = "words"

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self.asked: list[str] = []
        self.read: list[str] = []
        """Every rule that was ever read."""

    def logits(self, query: str, rules: Sequence[str]) -> np.ndarray:
        self.asked.append(query)
        self.read += rules
        asked = set(terms(query, self.language)) or {""}
        return np.array([8 * len(asked & set(terms(rule, self.language))) / len(asked) - 4 for rule in rules])


def write_documents(folder: Path) -> Path:
    for name, sections in DOCUMENTS.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        body = "".join(f"## {heading}\n{text}\n\n" for heading, text in sections.items())
        path.write_text(f"---\ntitle: Help\nlanguage: {name[:2]}\n---\n{body}", "utf-8")
    return folder


def write_questions(path: Path) -> Path:
    rows = [
        {"language": language, "text": text, "passages": passages, "history": []}
        for language, text, passages in QUESTIONS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def weights(size: int, bias: float = 0.0, **chosen: float) -> Weights:
    """Weights that are 0 but for those at the given places, named `at0`, `at1` and so on."""
    values = [0.0] * size
    for place, value in chosen.items():
        values[int(place.removeprefix("at"))] = value
    return Weights((0.0,) * size, (1.0,) * size, tuple(values), bias)


CALIBRATION = Calibration(
    rank=weights(6, at0=4.0, at2=4.0, at3=1.0, at4=4.0),
    answers=weights(9, bias=-2.0, at0=3.0, at1=3.0, at2=3.0, at5=-4.0),
    follows=weights(5, bias=-2.0, at0=2.0, at1=2.0, at4=4.0),
    rules=weights(6, at0=0.5, at2=1.0),
    found=weights(18, at1=1.0),
)
