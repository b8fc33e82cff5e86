"""Fit how retrieval weighs its features, on saved questions, and measure it on others.

Questions that the search or its models already know would score perfectly: `finetune.encoder` hands in rows that
none has learnt from.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from bot.retrieval import calibration
from bot.retrieval.calibration import Calibration, Weights
from bot.retrieval.hybrid import Rules, follow_share, read_rules
from bot.retrieval.reranker import Reranker
from bot.retrieval.shelf import QUERY_FEATURES, RANK_FEATURES, Candidates, Shelf
from bot.types import Language
from finetune.seeking import Sought


def fit(
    asked: Sequence[tuple[Shelf, Sequence[Sought]]],
    reader: Reranker,
    *,
    unread: Collection[str] = (),
    unanswerable: float = 0.5,
) -> Calibration:
    """All models of one language, from what was sought in each of some shops.

    Args:
        unread: features that tell nothing of whether anything answers.
        unanswerable: share of such questions that is counted on, whatever share they have here. At one half, as large
            a share of the answerable is refused by a probability of one half as of the others is not, or nearly.
    """
    language = asked[0][0].language
    sought = [(s, shelf) for shelf, found in asked for s in found]
    full = [(s.joined or s.alone, s.gold) for s, _ in sought]
    rank = _fit_rank([(candidates, gold) for candidates, gold in full if gold])
    answers = _fit_answers(full, rank, unread)
    none = logistic(np.zeros((2, 1)), np.array([True, True]))
    half = Calibration(rank, answers, answers, none, none)
    half = replace(half, follows=_fit_follows([s for s, _ in sought], language, half))
    return _fit_rules(sought, reader, half, unread, unanswerable)


def _fit_rules(
    sought: Sequence[tuple[Sought, Shelf]],
    reader: Reranker,
    half: Calibration,
    unread: Collection[str],
    unanswerable: float,
) -> Calibration:
    """How probably a rule answers, and whether any does."""
    read, kept = [], []
    for s, shelf in sought:
        total, rules = read_sought(s, shelf, reader, half)
        if rules is not None:
            read.append((float(total.max()), rules))
            kept.append((s, shelf))
    right = [[place in s.right for place in _places(rules)] for (s, _), (_, rules) in zip(kept, read, strict=True)]
    by_rule = logistic(np.concatenate([rules.features for _, rules in read]), np.concatenate(right))
    features = np.array(
        [
            calibration.found_features(
                by_rule.logits(rules.features),
                rules.features,
                p,
                query_of(s, half, shelf.language, len(shelf.passages)),
            )
            for (s, shelf), (p, rules) in zip(kept, read, strict=True)
        ]
    )
    features *= read_of(calibration.FOUND_FEATURES, unread)
    return replace(
        half,
        rules=by_rule,
        found=logistic(features, np.array([bool(s.gold) for s, _ in kept]), negatives=unanswerable),
    )


def read_sought(s: Sought, shelf: Shelf, reader: Reranker, fitted: Calibration) -> tuple[np.ndarray, Rules | None]:
    """What `HybridRetriever.search` finds: each passage's probability, and the rules read.  # (P,)"""
    size = len(shelf.passages)
    total = score(s, fitted, shelf.language, size)
    under = meant(s, fitted, shelf.language, size) is s.joined
    text, vector = (s.question.full_text, s.vectors[1]) if under else (s.question.text, s.vectors[0])
    return total, read_rules(shelf, reader, text, vector, total)


def meant(s: Sought, fitted: Calibration, language: Language, size: int) -> Candidates:
    """What is found for the text alone or, if it is probably a follow-up, under the message before."""
    return s.joined if s.joined is not None and share_of(s, fitted, language, size) > 0.5 else s.alone


def share_of(s: Sought, fitted: Calibration, language: Language, size: int) -> float:
    """How probably a text is a follow-up; 0 without a message before."""
    if s.joined is None:
        return 0.0
    return follow_share(s.question.text, language, fitted, *(spread(c, fitted, size) for c in (s.alone, s.joined)))


def query_of(s: Sought, fitted: Calibration, language: Language, size: int) -> np.ndarray:
    """QUERY_FEATURES of a question.  # (len(QUERY_FEATURES),)"""
    candidates = meant(s, fitted, language, size)
    return calibration.query_features(candidates, calibration.rank(candidates, fitted.rank))


def _places(rules: Rules) -> list[tuple[int, int]]:
    return list(zip(rules.passages.tolist(), rules.places.tolist(), strict=True))


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


def _fit_answers(rows: Sequence[tuple[Candidates, frozenset[int]]], rank: Weights, unread: Collection[str]) -> Weights:
    """Is there a passage that answers?"""
    features, labels = [], []
    for candidates, gold in rows:
        features.append(calibration.query_features(candidates, calibration.rank(candidates, rank)))
        labels.append(bool(gold))
    return logistic(np.array(features) * read_of(QUERY_FEATURES, unread), np.array(labels))


def read_of(names: Sequence[str], unread: Collection[str]) -> np.ndarray:
    """1 for each feature that is read, 0 for the others.  # (len(names),)"""
    return np.array([name not in unread for name in names], float)


def _fit_follows(sought: Sequence[Sought], language: Language, half: Calibration) -> Weights:
    """Follow-ups against questions of their own under another question; each kind counts half."""
    features, labels = [], []
    for s in sought:
        alone = float(calibration.probabilities(s.alone, half).max())
        joined = float(calibration.probabilities(s.joined or s.strange, half).max())
        features.append(calibration.follow_features(s.question.text, language, alone, joined))
        labels.append(s.kind == "follow_up")
    return logistic(np.array(features), np.array(labels), negatives=0.5)


def logistic(features: np.ndarray, labels: np.ndarray, *, negatives: float | None = None) -> Weights:
    """A logistic regression over standardised features.

    Args:
        negatives: share that they count for; None: their own.
    """
    if labels.all() or not labels.any():
        return Weights(*[(x,) * features.shape[1] for x in (0.0, 1.0, 0.0)], bias=3.0 if labels.all() else -3.0)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    share = labels.mean()
    weight = None if negatives is None else {True: (1 - negatives) / share, False: negatives / (1 - share)}
    model = LogisticRegression(max_iter=1000, class_weight=weight).fit((features - mean) / scale, labels)
    return _weights(mean, scale, model.coef_[0], float(model.intercept_[0]))


def _weights(mean: np.ndarray, scale: np.ndarray, weights: np.ndarray, bias: float) -> Weights:
    """As plain numbers, in six digits."""
    return Weights(*(tuple(float(f"{x:.6g}") for x in row) for row in (mean, scale, weights)), bias=bias)


def measure(
    asked: Sequence[tuple[Shelf, Sequence[Sought]]], reader: Reranker, fitted: Calibration
) -> dict[str, float]:
    """hit@1 and hit@3 by kind, the right rule first; what is let through and kept out at one half and at 95 %."""
    hits: dict[str, list[tuple[bool, bool]]] = {}
    first, sure, passed, kept_out = [], [], [], []
    sought = [(s, shelf) for shelf, found in asked for s in found]
    for s, shelf in sought:
        total, rules = read_sought(s, shelf, reader, fitted)
        if rules is None:
            continue
        query = query_of(s, fitted, shelf.language, len(shelf.passages))
        chances, any_answers = calibration.rule_probabilities(rules.features, float(total.max()), query, fitted)
        if not s.gold:
            kept_out.append(any_answers)
            continue
        passed.append(any_answers)
        order = np.argsort(-chances, kind="stable")
        best = list(dict.fromkeys(rules.passages[order].tolist()))[:3]
        hits.setdefault(s.kind, []).append((best[0] in s.gold, bool(s.gold & set(best))))
        first.append(_places(rules)[order[0]] in s.right)
        sure.append(chances.max() >= 0.5)
    found = {"questions": float(len(sought))}
    every = [hit for rows in hits.values() for hit in rows]
    for kind, rows in {"all": every, **hits}.items():
        found[f"{kind} hit@1"], found[f"{kind} hit@3"] = np.mean(rows, axis=0).tolist()
    found["right rule first"] = float(np.mean(first))
    found["best rule at 0.5 or more"] = float(np.mean(sure))
    found["right rule first, of those"] = float(np.mean(np.array(first)[np.array(sure)]))
    if passed and kept_out:
        yes, no = np.array(passed), np.array(kept_out)
        found["answerable kept at 0.5"] = float(np.mean(yes >= 0.5))
        found["unanswerable rejected at 0.5"] = float(np.mean(no < 0.5))
        equal = min(np.linspace(0, 1, 201), key=lambda t: abs(np.mean(yes >= t) - np.mean(no < t)))
        found["threshold where as many answerable are rejected as unanswerable kept"] = float(equal)
        found["rejected and kept right there"] = float(np.mean(yes >= equal))
        found["threshold for 95 % answerable"] = float(np.quantile(yes, 0.05))
        found["unanswerable rejected there"] = float(np.mean(no < np.quantile(yes, 0.05)))
        found["area under ROC"] = float(np.mean(yes[:, None] > no[None]))
    return found


def spread(candidates: Candidates, fitted: Calibration, size: int) -> np.ndarray:
    """Probabilities of all passages.  # (size,)"""
    total = np.zeros(size)
    total[candidates.numbers] = calibration.probabilities(candidates, fitted)
    return total


def score(s: Sought, fitted: Calibration, language: Language, size: int) -> np.ndarray:
    """Each passage's probability before its rules are read.  # (size,)"""
    alone, share = spread(s.alone, fitted, size), share_of(s, fitted, language, size)
    return alone if s.joined is None else (1 - share) * alone + share * spread(s.joined, fitted, size)
