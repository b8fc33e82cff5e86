"""Calibration: from the features of a query's passages and rules to the probability that each of them answers it.

Five small linear models, fitted by `python -m finetune encoder` and kept in `bot/models/retrieval.json`: one ranks
passages, one tells whether the best one answers at all, one tells a follow-up from a question of its own; then, of the
passages found, one rates each rule by what the reranker read, and one tells whether any rule answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bot.errors import ModelError
from bot.retrieval.keyword import content_terms
from bot.retrieval.shelf import QUERY_FEATURES, RANK_FEATURES, Candidates
from bot.types import LANGUAGES, Language

FOLLOW_FEATURES = ("opens", "points", "terms", "alone", "gain")
"""The text opens like a follow-up, points at something said before, how many content terms it has, how probably its
best passage answers it alone, and how much more probably together with the message before it."""

RULE_FEATURES = ("match", "match_lead", "passage", "similarity", "asked", "asked_lead")
"""The reranker's log-odds of a rule, the log-odds of its passage, the rule's similarity to the query, and that of the
nearest known question that asks for it; each lead is over the best other rule."""

FOUND_FEATURES = ("rule", "best", "top_three", *RULE_FEATURES, *QUERY_FEATURES)
"""What tells whether any rule answers: log-odds of the best rule and of the best passage, the sum of the three best
rules' probabilities; then everything known of the best rule and of the query."""

_OPENS = {
    "en": re.compile(
        r"(ok(ay)?|so|and|but|or|also|then|what about|how about|what if|same|really|why|even|no|yes|hm+)\b", re.I
    ),
    "zh": re.compile(r"那|还有|然后|所以|如果|要是|为什么|为啥|不是|好的|嗯|哦|就算|另外"),
}
_POINTS = {
    "en": re.compile(
        r"\b(it|its|that|this|these|those|they|them|one|ones|then|there|either|both|too|instead|else)\b", re.I
    ),
    "zh": re.compile(r"呢|它|这|那|也|之前|刚才|同样|一样|还要|还能|还会|到时"),
}


@dataclass(frozen=True, slots=True)
class Weights:
    """A linear model over standardised features."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """One number a row.  # (N,)"""
        return (features - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights) + self.bias


@dataclass(frozen=True, slots=True)
class Calibration:
    """One language's models."""

    rank: Weights
    answers: Weights
    follows: Weights
    rules: Weights
    found: Weights


@dataclass(frozen=True, slots=True)
class Calibrations:
    """One language's: for shops whose shoppers' questions are known, and for documents alone."""

    with_questions: Calibration
    documents_alone: Calibration

    def of(self, passages: int, questions: int) -> Calibration:
        """What holds for so many passages and known questions: `with_questions` from one a passage."""
        return self.with_questions if questions >= passages else self.documents_alone


FEATURES = {
    "rank": RANK_FEATURES,
    "answers": QUERY_FEATURES,
    "follows": FOLLOW_FEATURES,
    "rules": RULE_FEATURES,
    "found": FOUND_FEATURES,
}


def load_calibrations(path: Path) -> dict[Language, Calibrations]:
    """Every language's calibrations.

    Raises:
        ModelError: the file is missing, broken, or was fitted for other features.
    """
    again = "run `python -m finetune encoder`"
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["features"] != {name: list(features) for name, features in FEATURES.items()}:
            raise ModelError(f"{path} was fitted for other features; {again}.")
        return {
            language: Calibrations(**{part.name: _read(found[part.name]) for part in fields(Calibrations)})
            for language in LANGUAGES
            for found in [content["languages"][language]]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The calibration {path} cannot be read ({error}); {again}.") from error


def _read(content: Mapping[str, Any]) -> Calibration:
    return Calibration(
        **{
            name: Weights(tuple(w["mean"]), tuple(w["scale"]), tuple(w["weights"]), w["bias"])
            for name, w in content.items()
        }
    )


def save_calibrations(path: Path, calibrations: Mapping[Language, Calibrations]) -> None:
    """Write the file that `load_calibrations` reads."""
    content = {
        "features": FEATURES,
        "languages": {language: asdict(calibration) for language, calibration in calibrations.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def update_calibrations(path: Path, language: Language, fitted: Calibrations) -> None:
    """Replace one language's in a file, which is made if it is missing or fitted for other features."""
    try:
        calibrations = load_calibrations(path)
    except ModelError:
        calibrations = dict.fromkeys(LANGUAGES, fitted)
    save_calibrations(path, {**calibrations, language: fitted})


def rank(candidates: Candidates, weights: Weights) -> np.ndarray:
    """Logits by which the candidates are ordered.  # (N,)"""
    return weights.logits(candidates.ranking)


def query_features(candidates: Candidates, ranks: np.ndarray) -> np.ndarray:
    """QUERY_FEATURES of the best candidate.  # (len(QUERY_FEATURES),)"""
    order = np.argsort(-ranks, kind="stable")
    best = int(order[0])
    gap = float(ranks[best] - ranks[order[1]]) if len(order) > 1 else 5.0
    row = dict(zip(RANK_FEATURES, candidates.ranking[best], strict=True))
    return np.array(
        [
            row["dense"],
            row["known"],
            row["keyword"],
            candidates.covered[best],
            min(gap, 5.0),
            candidates.unanswerable,
            candidates.looks_answerable,
            candidates.vocabulary,
            np.log1p(candidates.terms),
        ]
    )


def probabilities(candidates: Candidates, calibration: Calibration) -> np.ndarray:
    """The probability that each candidate answers: the best one's, shrunk by how far the others fall behind."""
    ranks = rank(candidates, calibration.rank)
    best = sigmoid(calibration.answers.logits(query_features(candidates, ranks)[None]))[0]
    return best * np.exp(ranks - ranks.max())


def rule_features(match: np.ndarray, passage: np.ndarray, similarity: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """RULE_FEATURES of rules that were found together.  # (N, len(RULE_FEATURES))

    Args:
        match: The reranker's log-odds.  # (N,)
        passage: Probability of each one's passage.  # (N,)
        similarity: To the query.  # (N,)
        asked: Similarity of the nearest known question.  # (N,)
    """
    return np.stack([match, lead(match), logit(passage), similarity, asked, lead(asked)], axis=1)


def lead(values: np.ndarray) -> np.ndarray:
    """How far each lies ahead of the best other one; 0 where there is no other.  # (N,)"""
    if len(values) < 2:
        return np.zeros(len(values))
    second, best = np.sort(values)[-2:]
    return values - np.where(np.arange(len(values)) == values.argmax(), second, best)


def rule_probabilities(
    features: np.ndarray, passage: float, query: np.ndarray, calibration: Calibration
) -> tuple[np.ndarray, float]:
    """The probability of each rule, and that any answers.  # (N,)

    Args:
        features: RULE_FEATURES.  # (N, len(RULE_FEATURES))
        passage: Probability of the best passage.
        query: QUERY_FEATURES.  # (len(QUERY_FEATURES),)
    """
    rules = calibration.rules.logits(features)
    found = calibration.found.logits(found_features(rules, features, passage, query)[None])[0]
    return sigmoid(rules), float(sigmoid(found))


def found_features(rules: np.ndarray, features: np.ndarray, passage: float, query: np.ndarray) -> np.ndarray:
    """FOUND_FEATURES.  # (len(FOUND_FEATURES),)

    Args:
        rules: Log-odds of each rule.  # (N,)
    """
    top_three = float(np.sort(sigmoid(rules))[-3:].sum())
    return np.array([rules.max(), logit(passage), top_three, *features[rules.argmax()], *query])


def follow_features(text: str, language: Language, alone: float, joined: float) -> np.ndarray:
    """FOLLOW_FEATURES of a message.  # (len(FOLLOW_FEATURES),)

    Args:
        alone: The best passage's probability for the text alone.
        joined: The same for the text under the message before it.
    """
    return np.array(
        [
            float(bool(_OPENS[language].match(text.strip()))),
            float(bool(_POINTS[language].search(text))),
            np.log1p(len(content_terms(text, language))),
            alone,
            joined - alone,
        ]
    )


def sigmoid(x: Any) -> Any:
    """The logistic function."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def logit(p: Any) -> Any:
    """Log-odds of a probability, within ±7."""
    kept = np.clip(p, 1e-3, 1 - 1e-3)
    return np.log(kept / (1 - kept))
