"""Saved questions, and what a shelf that does not know them finds for each.

Between the search and what is fitted to it; fits nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bot.retrieval.hybrid import Encodes
from bot.retrieval.questions import Question, join, question_of
from bot.retrieval.shelf import Candidates, Shelf, build_shelf, find, views_of
from bot.types import Language, Passage
from finetune.reranker_data import right_rules


@dataclass(frozen=True, slots=True)
class Encoded:
    """Questions with their vectors."""

    questions: tuple[Question, ...]
    rows: tuple[dict[str, Any], ...]
    alone: np.ndarray  # (N, D)
    full: np.ndarray  # (N, D), with the message before
    strange_texts: tuple[str, ...]
    strange: np.ndarray  # (N, D)
    """Each under another row's question, which it has nothing to do with."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A question and what a shelf that does not know it finds for it."""

    question: Question
    kind: str
    alone: Candidates
    joined: Candidates | None
    """With the message before; None without one."""
    strange: Candidates
    """With a message before that it has nothing to do with."""
    gold: frozenset[int]
    """Numbers of the passages that answer; empty if none does."""
    right: frozenset[tuple[int, int]]
    """(Passage's number, its line) of the rules that answer."""
    vectors: tuple[np.ndarray, np.ndarray]
    """Of the text alone, and with the message before.  # (D,) each"""


def encode(rows: Sequence[dict[str, Any]], encoder: Encodes, *, with_strange: bool) -> Encoded:
    """Rows of finetune/data with their vectors; those under another question only if they are asked for."""
    questions = tuple(map(question_of, rows))
    alone = encoder.encode([question.text for question in questions])
    full, followers = alone.copy(), [n for n, question in enumerate(questions) if question.context]
    if followers:
        full[followers] = encoder.encode([questions[n].full_text for n in followers])
    others = [question.text for question in questions if question.passages and not question.context] or [""]
    strange = tuple(join([others[n * 7919 % len(others)]], question.text) for n, question in enumerate(questions))
    return Encoded(
        questions, tuple(rows), alone, full, strange,
        encoder.encode(strange) if with_strange else np.zeros_like(alone),
    )  # fmt: skip


def shelf_of(language: Language, passages: Sequence[Passage], views: np.ndarray, known: Encoded) -> Shelf:
    """A shelf that knows these questions."""
    return build_shelf(language, passages, views, known.questions, known.full)


def seek(shelf: Shelf, asked: Encoded) -> list[Sought]:
    """Search questions."""
    numbers = {passage.id: number for number, passage in enumerate(shelf.passages)}
    by_id = {passage.id: passage for passage in shelf.passages}

    def places(row: dict[str, Any]) -> frozenset[tuple[int, int]]:
        found = right_rules(row, by_id)
        return frozenset((numbers[id], by_id[id].text.splitlines().index(line)) for id, line in found)

    return [
        Sought(
            question,
            asked.rows[n]["kind"],
            find(shelf, question.text, asked.alone[n]),
            find(shelf, question.full_text, asked.full[n]) if question.context else None,
            find(shelf, asked.strange_texts[n], asked.strange[n]),
            frozenset(numbers[id] for id in question.passages if id in numbers),
            places(asked.rows[n]),
            (asked.alone[n], asked.full[n]),
        )
        for n, question in enumerate(asked.questions)
    ]


def encode_views(passages: Sequence[Passage], encoder: Encodes) -> np.ndarray:
    """Vectors of the passages' views, in the shelf's order."""
    return encoder.encode([view for passage in passages for view in views_of(passage)])
