"""Public texts for the base model: natural prose, and questions with the statement that answers each.

Reads one folder laid out as `prose/<language>/*.txt` (documents apart by a blank line) and
`en/`, `zh/` with the question-answer sets named below; what is missing there is left out.
Knows neither tokenizer nor tasks.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bot.types import LANGUAGES, Language

SHARES = {"law": 400_000, "python": 400_000, "operations": 400_000, "cucom": 600_000, "kdconv": 600_000,
          "react": 400_000}  # fmt: skip
"""Bytes taken at most of what reads least like a help centre, by a word of its file's name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question as somebody asked it, and the statement that answers it."""

    question: str
    statement: str
    topic: str
    """Pairs of one topic may answer each other's questions and never stand in one context."""
    source: str
    """Statements of one source read alike and make good distractors."""


def read_prose(folder: Path, share: int = 1_500_000) -> dict[Language, list[str]]:
    """Documents per language, at most `share` bytes of a file and less of the files in `SHARES`."""
    found: dict[Language, list[str]] = {}
    for language in LANGUAGES:
        found[language] = []
        for path in sorted((folder / "prose" / language).glob("*.txt")):
            left = next((n for word, n in SHARES.items() if word in path.name), share)
            for document in path.read_text(encoding="utf-8").split("\n\n"):
                left -= len(document.encode())
                if left < 0:
                    break
                found[language].append(document)
    return found


def read_pairs(folder: Path) -> dict[Language, list[Pair]]:
    """Questions with their statements, per language."""
    return {
        "en": [*_snippets(folder / "en"), *_products(folder / "en"), *_support(folder / "en")],
        "zh": list(_purifier(folder / "zh")),
    }


def _snippets(folder: Path) -> Iterator[Pair]:
    """DSTC9 track 1 and DSTC11 track 5: a place's questions and answers."""
    for path in (folder / "dstc9_track1/knowledge.json", folder / "dstc11_track5_sktod/knowledge.json"):
        if not path.is_file():
            continue
        for domain, places in json.loads(path.read_text(encoding="utf-8")).items():
            for place in places.values():
                for doc in (place.get("docs") or place.get("faqs") or {}).values():
                    question, answer = doc.get("title") or doc.get("question"), doc.get("body") or doc.get("answer")
                    if question and answer and len(answer) < 220:
                        yield Pair(question, answer, question, f"{domain} {place.get('name')}")


def _products(folder: Path) -> Iterator[Pair]:
    """hetPQA: shoppers' questions about products, and what the page says."""
    path = folder / "amazon_product_qa/hetPQA/answer_generation/train.csv"
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["answer"] and 15 < len(row["answer"]) < 160:
                yield Pair(row["question"], row["answer"][0].upper() + row["answer"][1:], row["question"], "products")


def _support(folder: Path) -> Iterator[Pair]:
    """Bitext: shoppers' requests and a support reply, 27 intents; texts with placeholders are left out."""
    path = folder / "bitext_llm_support/bitext_short_responses.csv"
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            question, answer = row["instruction"], row["response"]
            if question and answer and "{" not in answer + question and len(answer) < 260:
                yield Pair(question, answer, row["intent"], "support")


def _purifier(folder: Path) -> Iterator[Pair]:
    """A Chinese shop's questions and answers about one product."""
    path = folder / "airpurifier_faq/qa_.csv"
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        question, _, answer = line.partition(",")
        answer = answer.removeprefix("您好，").strip()
        if len(answer) > 7:
            yield Pair(question, answer if answer[-1] in "。！？" else answer + "。", question, "purifier")
