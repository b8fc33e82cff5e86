"""Fit how retrieval weighs its features, on saved questions, and measure it on others.

Questions that retrieval or its encoder already knows would score perfectly: `finetune.encoder` hands in rows that
neither has learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from bot.retrieval import calibration
from bot.retrieval.calibration import Calibration, Weights
from bot.retrieval.hybrid import Encodes, blend
from bot.retrieval.questions import Question, join, question_of
from bot.retrieval.shelf import RANK_FEATURES, Candidates, Shelf, build_shelf, find, views_of
from bot.types import Language, Passage


@dataclass(frozen=True, slots=True)
class Encoded:
    """Questions with their vectors."""

    questions: tuple[Question, ...]
    kinds: tuple[str, ...]
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
        questions, tuple(row["kind"] for row in rows), alone, full, strange,
        encoder.encode(strange) if with_strange else np.zeros_like(alone),
    )  # fmt: skip


def shelf_of(language: Language, passages: Sequence[Passage], views: np.ndarray, known: Encoded) -> Shelf:
    """A shelf that knows these questions."""
    return build_shelf(language, passages, views, known.questions, known.full)


def seek(shelf: Shelf, asked: Encoded) -> list[Sought]:
    """Search questions."""
    numbers = {passage.id: number for number, passage in enumerate(shelf.passages)}
    return [
        Sought(
            question,
            asked.kinds[row],
            find(shelf, question.text, asked.alone[row]),
            find(shelf, question.full_text, asked.full[row]) if question.context else None,
            find(shelf, asked.strange_texts[row], asked.strange[row]),
            frozenset(numbers[id] for id in question.passages if id in numbers),
        )
        for row, question in enumerate(asked.questions)
    ]


def fit(sought: Sequence[Sought], language: Language) -> Calibration:
    """All three models of one language."""
    full = [(s.joined or s.alone, s.gold) for s in sought]
    rank = _fit_rank([(candidates, gold) for candidates, gold in full if gold])
    answers = _fit_answers(full, rank)
    half = Calibration(rank, answers, answers)
    return Calibration(rank, answers, _fit_follows(sought, language, half))


def _fit_rank(rows: Sequence[tuple[Candidates, frozenset[int]]], steps: int = 300) -> Weights:
    """A softmax over each question's candidates, by gradient descent with momentum."""
    stacked = np.concatenate([candidates.ranking for candidates, _ in rows])
    mean, scale = stacked.mean(axis=0), stacked.std(axis=0) + 1e-6
    sets = [
        ((candidates.ranking - mean) / scale, np.isin(candidates.numbers, list(gold)))
        for candidates, gold in rows
        if np.isin(candidates.numbers, list(gold)).any()
    ]
    starts = np.cumsum([0, *(len(x) for x, _ in sets)])[:-1]
    features = np.concatenate([x for x, _ in sets])
    gold_share = np.concatenate([g / g.sum() for _, g in sets])
    owner = np.repeat(np.arange(len(sets)), [len(x) for x, _ in sets])
    weights, momentum = np.zeros(len(RANK_FEATURES)), np.zeros(len(RANK_FEATURES))
    for _ in range(steps):
        logits = features @ weights
        logits -= np.maximum.reduceat(logits, starts)[owner]
        exp = np.exp(logits)
        share = exp / np.add.reduceat(exp, starts)[owner]
        momentum = 0.9 * momentum + features.T @ (gold_share - share) / len(sets) - 1e-4 * weights
        weights = weights + 0.1 * momentum
    return _weights(mean, scale, weights, 0.0)


def _fit_answers(rows: Sequence[tuple[Candidates, frozenset[int]]], rank: Weights) -> Weights:
    """Is there a passage that answers?"""
    features, labels = [], []
    for candidates, gold in rows:
        features.append(calibration.query_features(candidates, calibration.rank(candidates, rank)))
        labels.append(bool(gold))
    return logistic(np.array(features), np.array(labels))


def _fit_follows(sought: Sequence[Sought], language: Language, half: Calibration) -> Weights:
    """Follow-ups against questions of their own under another question; each kind counts half."""
    features, labels = [], []
    for s in sought:
        alone = float(calibration.probabilities(s.alone, half).max())
        joined = float(calibration.probabilities(s.joined or s.strange, half).max())
        features.append(calibration.follow_features(s.question.text, language, alone, joined))
        labels.append(s.kind == "follow_up")
    return logistic(np.array(features), np.array(labels), balanced=True)


def logistic(features: np.ndarray, labels: np.ndarray, *, balanced: bool = False) -> Weights:
    """A logistic regression over standardised features."""
    if labels.all() or not labels.any():
        return Weights(*[(x,) * features.shape[1] for x in (0.0, 1.0, 0.0)], bias=3.0 if labels.all() else -3.0)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    model = LogisticRegression(max_iter=1000, class_weight="balanced" if balanced else None).fit(
        (features - mean) / scale, labels
    )
    return _weights(mean, scale, model.coef_[0], float(model.intercept_[0]))


def _weights(mean: np.ndarray, scale: np.ndarray, weights: np.ndarray, bias: float) -> Weights:
    """As plain numbers, in six digits."""
    return Weights(*(tuple(float(f"{x:.6g}") for x in row) for row in (mean, scale, weights)), bias=bias)


def measure(sought: Sequence[Sought], fitted: Calibration, language: Language, size: int) -> dict[str, float]:
    """hit@1 and hit@3 by kind; how many are let through and kept out at the threshold that lets 95 % through."""
    hits: dict[str, list[tuple[bool, bool]]] = {}
    under: list[tuple[bool, bool]] = []
    passed, kept_out = [], []
    for s in sought:
        total = score(s, fitted, language, size)
        best = np.argsort(-total, kind="stable")[:3]
        if s.gold:
            hits.setdefault(s.kind, []).append((best[0] in s.gold, bool(s.gold & set(best.tolist()))))
            passed.append(total.max())
            if s.joined is None:
                total = score(replace(s, joined=s.strange), fitted, language, size)
                best = np.argsort(-total, kind="stable")[:3]
                under.append((best[0] in s.gold, bool(s.gold & set(best.tolist()))))
        else:
            kept_out.append(total.max())
    found = {"questions": float(len(sought))}
    every = [hit for rows in hits.values() for hit in rows]
    for kind, rows in {"all": every, **hits, "under another question": under}.items():
        found[f"{kind} hit@1"], found[f"{kind} hit@3"] = np.mean(rows, axis=0).tolist()
    if passed and kept_out:
        threshold = float(np.quantile(passed, 0.05))
        found["threshold for 95 % answerable"] = threshold
        found["unanswerable rejected there"] = float(np.mean(np.array(kept_out) < threshold))
        found["area under ROC"] = float(np.mean(np.array(passed)[:, None] > np.array(kept_out)[None]))
    return found


def score(s: Sought, fitted: Calibration, language: Language, size: int) -> np.ndarray:
    """What `HybridRetriever.search` would score.  # (size,)"""

    def spread(candidates: Candidates) -> np.ndarray:
        total = np.zeros(size)
        total[candidates.numbers] = calibration.probabilities(candidates, fitted)
        return total

    if s.joined is None:
        return spread(s.alone)
    return blend(s.question.text, language, fitted, spread(s.alone), spread(s.joined))


def encode_views(passages: Sequence[Passage], encoder: Encodes) -> np.ndarray:
    """Vectors of the passages' views, in the shelf's order."""
    return encoder.encode([view for passage in passages for view in views_of(passage)])
