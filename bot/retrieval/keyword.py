"""Keywords: terms of English and Chinese texts, and BM25 over them.

Knows neither passages nor vectors: a text is a list of terms, a result one score per text.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from bot.types import Language

K1, B = 1.2, 0.75
"""Usual BM25 constants (Robertson and Zaragoza, 2009)."""

_ENGLISH = re.compile(r"[a-z0-9]+(?:['’][a-z]+)?")
_CHINESE = re.compile(r"[\u4e00-\u9fff]+|[a-z0-9]+")
_STOP_EN = frozenset(
    """a about all also am an and any are aren't as at be been before being but by can can't could did didn't do
    does doesn't doing don't else ever for from get gets getting go going gonna got had has have haven't having hello
    help her here hey hi him his how i i'd i'll i'm i've if im in into is isn't it it's its itself just know let like
    lol looking make me mean might mine more much must my myself need no not now of ok okay on one only or other our
    out please pls really see seems she should so some still such sure take tell than thank thanks that that's the
    their them then there there's these they they're thing think this those to too try trying u um up ur us use very
    want wanted wanna was wasn't way we well were what what's when where which while who why will wish with won't
    would yes yet you you're your yours""".split()
)
_STOP_ZH = frozenset(
    "的了吗呢啊吧呀哦哈嘛呗啦么我你您他她它们咱这那哪是有在就都也"
    "还又很太再和跟与及或但而把被给让请问下个些一不没要会能可以想说"
)


def terms(text: str, language: Language) -> list[str]:
    """What BM25 counts: stemmed words in English, characters and pairs of them in Chinese."""
    text = text.lower()
    if language == "en":
        return [_stem(word.replace("’", "'")) for word in _ENGLISH.findall(text)]
    found = []
    for run in _CHINESE.findall(text):
        if run[0].isascii():
            found.append(run)
        else:
            found += run
            found += (run[n : n + 2] for n in range(len(run) - 1))
    return found


def content_terms(text: str, language: Language) -> set[str]:
    """The terms that carry a meaning of their own: no stop words; pairs of characters with one at most."""
    if language == "en":
        words = _ENGLISH.findall(text.lower().replace("’", "'"))
        return {_stem(word) for word in words if word not in _STOP_EN}
    return {term for term in terms(text, "zh") if (len(term) > 1 or not term.isascii()) and _means(term)}


def _means(term: str) -> bool:
    return term.isascii() or not all(character in _STOP_ZH for character in term)


def _stem(word: str) -> str:
    """A word without the commonest English endings: `delivered`, `delivering` and `delivers` become one term."""
    word = word.removesuffix("'s")
    for ending, least in (("ies", 5), ("ing", 6), ("ed", 5), ("es", 5), ("s", 4), ("e", 4)):
        if len(word) >= least and word.endswith(ending) and not word.endswith("ss"):
            stem = word[: -len(ending)] + ("y" if ending == "ies" else "")
            return stem[:-1] if ending in ("ing", "ed") and stem[-1:] == stem[-2:-1] and stem[-1] not in "ls" else stem
    return word


@dataclass(frozen=True, slots=True)
class Bm25:
    """An inverted index over some texts."""

    size: int
    """How many texts there are."""
    postings: dict[str, tuple[np.ndarray, np.ndarray]]
    """Term to the texts that hold it and its weight in each."""
    idf: dict[str, float]

    def scores(self, query: Sequence[str]) -> np.ndarray:
        """Each text's share of the best score that the query's terms could reach, 0 to 1.  # (size,)"""
        found = np.zeros(self.size, dtype=np.float32)
        best = 0.0
        for term in set(query):
            best += self.idf.get(term, self.rarest) * (K1 + 1)
            if term in self.postings:
                texts, weights = self.postings[term]
                found[texts] += weights
        return found / best if best else found

    @property
    def rarest(self) -> float:
        """The weight of a term that no text holds."""
        return log(1 + (self.size + 0.5) / 0.5)

    def known(self, query: set[str]) -> float:
        """Share of the query's terms that some text holds, weighted by how rare they are, 0 to 1."""
        weights = [(self.idf.get(term, self.rarest), term in self.idf) for term in query]
        total = sum(weight for weight, _ in weights)
        return sum(weight for weight, held in weights if held) / total if total else 0.0


def build_bm25(texts: Sequence[Sequence[str]]) -> Bm25:
    """Index texts that are given as terms."""
    counts = [Counter(text) for text in texts]
    lengths = np.array([len(text) for text in texts], dtype=np.float32)
    mean = float(lengths.mean()) if len(texts) else 1.0
    held: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, count in enumerate(counts):
        for term, times in count.items():
            held[term].append((number, times))
    idf = {term: log(1 + (len(texts) - len(where) + 0.5) / (len(where) + 0.5)) for term, where in held.items()}
    postings = {}
    for term, where in held.items():
        numbers = np.array([number for number, _ in where], dtype=np.int32)
        times = np.array([times for _, times in where], dtype=np.float32)
        weights = times * (K1 + 1) / (times + K1 * (1 - B + B * lengths[numbers] / max(mean, 1.0)))
        postings[term] = numbers, (idf[term] * weights).astype(np.float32)
    return Bm25(len(texts), postings, idf)
