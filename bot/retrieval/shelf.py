"""A shelf: what is indexed for one language, and the features of its passages for a query.

Each passage stands there as its heading, its text and each of its rules, and as the known questions that it answers;
known questions that nothing answers stand beside them. Knows vectors, not the model that makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from bot.retrieval import dense, keyword
from bot.retrieval.questions import Question, said_lines
from bot.types import Language, Passage

RANK_FEATURES = ("dense", "heading", "known", "taught", "keyword", "keyword_known")
"""What ranks a passage for a query: similarity of its nearest view, of its heading, of its nearest known question,
of the mean of all its texts; BM25 on its text, and on its known questions."""

QUERY_FEATURES = (
    "dense", "known", "keyword", "covered", "gap", "unanswerable", "looks_answerable", "vocabulary", "terms",
)  # fmt: skip
"""What tells whether a query is answered at all: the best passage's similarities, its share of the query's content
terms, its lead over the second, the nearest unanswerable question, the boundary between questions of both kinds,
the share of terms known anywhere, their number."""

LEAST_QUESTIONS = 10
RIDGE = 0.1
"""Penalty of the boundary's weights."""

CANDIDATES = 64
"""Nearest vectors, and best keyword matches, whose passages are looked at."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """One language's index; immutable, so that threads may share it."""

    language: Language
    passages: tuple[Passage, ...]
    views: faiss.Index
    """All views of the first passage, of the second, and so on; the heading is each one's first."""
    view_starts: np.ndarray  # (P + 1,)
    known: faiss.Index
    known_owners: np.ndarray  # (K,)
    rule_starts: np.ndarray  # (P + 1,), the lines of the first passage, of the second, and so on
    asked: tuple[np.ndarray, np.ndarray]
    """Which known question asks for which rule: rows of `known`, and numbers of lines.  # (A,), (A,)"""
    unanswerable: faiss.Index
    boundary: np.ndarray  # (D + 1,)
    """Between answerable and unanswerable questions: weights, then a bias."""
    taught: np.ndarray  # (P, D)
    words: keyword.Bm25
    known_words: keyword.Bm25
    vocabulary: tuple[frozenset[str], ...]
    """Content terms of each passage and of its known questions."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Passages that may answer a query."""

    numbers: np.ndarray  # (N,), into Shelf.passages
    ranking: np.ndarray  # (N, len(RANK_FEATURES))
    covered: np.ndarray  # (N,), share of the query's content terms
    unanswerable: float
    looks_answerable: float
    vocabulary: float
    terms: int


def views_of(passage: Passage) -> list[str]:
    """The texts under which a passage is found: its heading first, then its text and its rules."""
    rules = [rule.removeprefix("- ") for rule in passage.text.splitlines()]
    heading = f"{passage.title}: {passage.heading}"
    return [heading, f"{passage.heading} {' '.join(rules)}", *(rules if len(rules) > 1 else ())]


def build_shelf(
    language: Language,
    passages: Sequence[Passage],
    view_vectors: np.ndarray,
    questions: Sequence[Question],
    question_vectors: np.ndarray,
) -> Shelf:
    """Index passages and known questions whose vectors are given.

    Args:
        passages: At least one.
        view_vectors: Of `views_of` each passage, in order.  # (V, D)
        questions: Known ones, of this language.
        question_vectors: Of their full texts.  # (Q, D)
    """
    starts = np.cumsum([0, *(len(views_of(passage)) for passage in passages)])
    view_owners = np.repeat(np.arange(len(passages)), np.diff(starts))
    number = {passage.id: n for n, passage in enumerate(passages)}
    pairs = [(row, number[id]) for row, question in enumerate(questions) for id in question.passages]
    known_rows = np.array([row for row, _ in pairs], dtype=np.int64)
    known_owners = np.array([owner for _, owner in pairs], dtype=np.int64)
    rule_starts = np.cumsum([0, *(len(passage.text.splitlines()) for passage in passages)])
    asked_for = [
        (k, rule_starts[owner] + line)
        for k, (row, owner) in enumerate(pairs)
        for line in said_lines(questions[row].answer, passages[owner].text)
    ]
    unanswerable_rows = np.array([row for row, q in enumerate(questions) if not q.passages], dtype=np.int64)

    taught = np.zeros((len(passages), view_vectors.shape[1]), np.float32)
    np.add.at(taught, view_owners, view_vectors)
    np.add.at(taught, known_owners, question_vectors[known_rows])

    texts = [keyword.terms(" ".join(views_of(passage)[:2]), language) for passage in passages]
    asked: list[list[str]] = [[] for _ in passages]
    vocabulary = [
        keyword.content_terms(f"{passage.title} {passage.heading} {passage.text}", language) for passage in passages
    ]
    for row, owner in pairs:
        asked[owner] += keyword.terms(questions[row].full_text, language)
        vocabulary[owner] |= keyword.content_terms(questions[row].full_text, language)
    return Shelf(
        language,
        tuple(passages),
        dense.build_index(view_vectors),
        starts,
        dense.build_index(question_vectors[known_rows]),
        known_owners,
        rule_starts,
        (np.array([k for k, _ in asked_for], np.int64), np.array([rule for _, rule in asked_for], np.int64)),
        dense.build_index(question_vectors[unanswerable_rows]),
        boundary(question_vectors[known_rows], question_vectors[unanswerable_rows]),
        dense.unit(taught),
        keyword.build_bm25(texts),
        keyword.build_bm25(asked),
        tuple(map(frozenset, vocabulary)),
    )


def boundary(answerable: np.ndarray, unanswerable: np.ndarray) -> np.ndarray:
    """A logistic regression between two kinds of questions, each kind counting half; zeros if there are too few.

    Args:
        answerable, unanswerable: Unit vectors.  # (N, D), (M, D)
    """
    dimension = answerable.shape[1]
    if min(len(answerable), len(unanswerable)) < LEAST_QUESTIONS:
        return np.zeros(dimension + 1, np.float32)
    rows = np.concatenate([answerable, unanswerable]).astype(np.float64)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    labels = np.repeat([1.0, 0.0], [len(answerable), len(unanswerable)])
    share = np.repeat([0.5 / len(answerable), 0.5 / len(unanswerable)], [len(answerable), len(unanswerable)])
    counts = share * len(rows)
    weights = np.zeros(dimension + 1)
    penalty = np.append(np.full(dimension, RIDGE), 1e-6)
    for _ in range(8):  # Newton's method; 5 suffice on the sample shop
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (counts * (chance - labels)) + penalty * weights
        curve = (rows * (counts * chance * (1 - chance))[:, None]).T @ rows + np.diag(penalty)
        weights -= np.linalg.solve(curve, slope)
    return weights.astype(np.float32)


def find(shelf: Shelf, text: str, query: np.ndarray) -> Candidates:
    """The passages that a query may mean, with their features.

    Args:
        query: The text's vector.  # (D,)
    """
    spread = keyword.terms(text, shelf.language)
    by_text, by_questions = shelf.words.scores(spread), shelf.known_words.scores(spread)
    numbers = _candidates(shelf, query, by_text, by_questions)

    starts, ends = shelf.view_starts[numbers], shelf.view_starts[numbers + 1]
    view_rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    similar = dense.rows(shelf.views)[view_rows] @ query
    firsts = np.cumsum([0, *(ends - starts)[:-1]])
    known = np.zeros(len(shelf.passages), np.float32)
    if shelf.known.ntotal:
        np.maximum.at(known, shelf.known_owners, dense.rows(shelf.known) @ query)
    ranking = np.stack(
        [
            np.maximum.reduceat(similar, firsts),
            similar[firsts],
            known[numbers],
            shelf.taught[numbers] @ query,
            by_text[numbers],
            by_questions[numbers],
        ],
        axis=1,
    )
    content = keyword.content_terms(text, shelf.language)
    unanswerable = float(shelf.unanswerable.search(query[None], 1)[0][0, 0]) if shelf.unanswerable.ntotal else 0.0
    weights = {term: shelf.words.idf.get(term, shelf.words.rarest) for term in content}
    total = sum(weights.values()) or 1.0
    covered = [sum(w for t, w in weights.items() if t in shelf.vocabulary[n]) / total for n in numbers]
    anywhere = sum(w for t, w in weights.items() if t in shelf.words.idf or t in shelf.known_words.idf) / total
    looks_answerable = float(query @ shelf.boundary[:-1] + shelf.boundary[-1])
    return Candidates(
        numbers, ranking, np.array(covered, np.float32), unanswerable, looks_answerable, anywhere, len(content)
    )


def rule_similarities(shelf: Shelf, number: int, query: np.ndarray) -> tuple[float, ...]:
    """How near each rule of a passage is to a query, in the passage's order; a lone rule is the text itself."""
    views = dense.rows(shelf.views)[shelf.view_starts[number] : shelf.view_starts[number + 1]]
    return tuple(float(s) for s in (views[2:] if len(views) > 2 else views[1:2]) @ query)


def asked_similarities(shelf: Shelf, query: np.ndarray) -> np.ndarray:
    """How near each rule's nearest known question is to a query; 0 for a rule that none asks for.  # (L,)"""
    near = np.zeros(shelf.rule_starts[-1], np.float32)
    questions, rules = shelf.asked
    if len(questions):
        np.maximum.at(near, rules, dense.rows(shelf.known)[questions] @ query)
    return near


def _candidates(shelf: Shelf, query: np.ndarray, *keyword_scores: np.ndarray) -> np.ndarray:
    """Numbers of the passages that are near the query by vector or by keyword."""
    found: set[int] = set()
    view_rows = shelf.views.search(query[None], min(CANDIDATES, shelf.views.ntotal))[1][0]
    found.update((np.searchsorted(shelf.view_starts, view_rows, side="right") - 1).tolist())
    if shelf.known.ntotal:
        known_rows = shelf.known.search(query[None], min(CANDIDATES, shelf.known.ntotal))[1][0]
        found.update(shelf.known_owners[known_rows].tolist())
    for scores in keyword_scores:
        best = np.argsort(-scores, kind="stable")[:CANDIDATES]
        found.update(best[scores[best] > 0].tolist())
    return np.array(sorted(found), dtype=np.int64)
