"""The figures of an evaluation: what one turn got right, shares per language, and what a worse contender fails by.

Pure: knows neither models nor files. `python -m finetune evaluate` tells the turns that are counted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot import evidence
from bot.types import Citation, Language, Passage, Release

OUTCOMES = ("answered", "quoted", "abstained", "handed_off")
DECLINED = ("abstained", "handed_off")
"""Outcomes that give no answer: right where the documents hold none."""
SPOKEN: Mapping[str, str] = {"en": "English", "zh": "Chinese"}

Figures = Mapping[str, Mapping[str, float | None]]
"""Per language, each figure by its name; None where there was nothing to measure."""


@dataclass(frozen=True, slots=True)
class Result:
    """One row's turn."""

    id: str
    language: Language
    kind: str
    text: str
    reference: str
    shown: str
    """What the shopper read; empty after a handoff."""
    outcome: str
    rank: int | None
    """Place of the row's passage among those found, from 1; None if it was not among them."""
    facts_right: bool
    """All claims of the reference stand in what was shown."""
    unsupported: tuple[str, ...]
    """Claims that were shown and stand in nothing that was cited."""
    right_language: bool
    seconds: float
    history: tuple[str, ...] = ()
    """What was said before, oldest first."""
    citations: tuple[Citation, ...] = ()
    loss: float | None = None
    """Cross-entropy of the reference under the served prompt, summed over its tokens, in nats; None: not measured."""
    tokens: int = 0
    """Tokens that `loss` is the sum of."""
    shop: str = ""
    """Folder of a shop never seen; empty for the sample shop."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender's turns."""

    name: str
    release: Release
    results: tuple[Result, ...]
    general: Mapping[str, float | None]
    """Loss a token on the general set, by language; none if the engine cannot say."""

    @property
    def figures(self) -> Figures:
        """See `figures` below."""
        return figures(self.results, self.general)


def facts_right(reference: str, shown: str) -> bool:
    """Whether every number, date and amount of the reference stands in what was shown."""
    said = evidence.claims(shown)
    return all(evidence.holds(said, claim) for claim in evidence.claims(reference))


def unsupported(shown: str, cited: Iterable[Passage]) -> tuple[str, ...]:
    """Claims of what was shown that no cited passage holds; read apart from the gate, passage by passage."""
    held = frozenset().union(*(evidence.claims(f"{p.title} {p.heading}\n{p.text}") for p in cited))
    return tuple(f"{c.value} {c.unit}".strip() for c in evidence.claims(shown) if not evidence.holds(held, c))


def faults(result: Result) -> tuple[str, ...]:
    """What a reader would hold against a turn, in words; none if it is as it should be."""
    found = []
    declined = result.outcome in DECLINED
    if result.kind == "unanswerable":
        found += [] if declined else ["the documents do not answer this"]
    elif declined:
        found.append("the documents answer this")
    elif not result.facts_right:
        found.append("facts missing")
    found += [f"unsupported: {', '.join(result.unsupported)}"] if result.unsupported else []
    found += [] if result.right_language else ["wrong language"]
    return tuple(found)


def figures(results: Sequence[Result], general: Mapping[str, float | None] | None = None) -> Figures:
    """The figures per language, pooled over shops: shares from 0 to 1, counts, nats a token, and seconds.

    Args:
        general: loss a token on the general set, by language.
    """
    return {
        language: _of([r for r in results if r.language == language], (general or {}).get(language))
        for language in sorted({r.language for r in results})
    }


def _of(rows: Sequence[Result], general: float | None) -> dict[str, float | None]:
    asked = [r for r in rows if r.kind not in ("unanswerable", "small_talk")]
    without = [r for r in rows if r.kind == "unanswerable"]
    weighed = [r for r in rows if r.loss is not None]
    precision, recall, f1 = abstention(rows)
    one: dict[str, float | None] = {"rows": len(rows)}
    if shops := {r.shop for r in rows if r.shop}:
        one["shops"] = len(shops)
    one |= {"answerable": len(asked), "unanswerable": len(without)}
    for k in (1, 3):
        one[f"retrieval hit@{k}"] = share(r.rank is not None and r.rank <= k for r in asked)
    for outcome in OUTCOMES:
        one[f"{outcome.replace('_', ' ')} (answerable)"] = share(r.outcome == outcome for r in asked)
    one["key facts right (answerable)"] = share(r.facts_right for r in asked)
    one["key facts right (where answered)"] = share(r.facts_right for r in asked if r.outcome == "answered")
    one["unsupported claims shown"] = sum(len(r.unsupported) for r in rows)
    one |= {"abstention precision": precision, "abstention recall": recall, "abstention F1": f1}
    one["right language"] = share(r.right_language for r in rows)
    one["held-out loss a token"] = mean_loss((r.loss or 0.0, r.tokens) for r in weighed)
    one["answers in the held-out loss"] = len(weighed)
    one["general text, loss a token"] = general
    one["seconds a turn, median"] = sorted(r.seconds for r in rows)[len(rows) // 2]
    return one


def share(hits: Iterable[bool]) -> float | None:
    """Part of true values, 0 to 1; None of none."""
    values = list(hits)
    return sum(values) / len(values) if values else None


def mean_loss(parts: Iterable[tuple[float, int]]) -> float | None:
    """Nats a token over (sum of nats, tokens); None of none."""
    losses, tokens = [sum(column) for column in zip(*parts, strict=True)] or (0.0, 0)
    return losses / tokens if tokens else None


def abstention(rows: Iterable[Result]) -> tuple[float | None, float | None, float | None]:
    """Precision, recall and F1 of giving no answer, where right is: the documents hold none."""
    pairs = [(r.outcome in DECLINED, r.kind == "unanswerable") for r in rows]
    both = sum(declined and none for declined, none in pairs)
    declined, none = sum(d for d, _ in pairs), sum(n for _, n in pairs)
    return (
        both / declined if declined else None,
        both / none if none else None,
        2 * both / (declined + none) if none else None,
    )


def written(figure: float | None) -> str:
    """A figure as it is read: counts whole, the rest with three places."""
    return "–" if figure is None else f"{figure:.3f}" if isinstance(figure, float) else str(figure)


GATED = {
    "key facts right (answerable)": "key facts are right in {} of the questions that the documents answer",
    "abstention F1": "the F1 of abstaining is {}",
    "right language": "the language is right in {} of the turns",
}
"""Figures that must not fall, each as it is said."""


def reasons(mine: Figures, theirs: Figures, *, than: str, margin: float) -> list[str]:
    """Why a contender must not replace another, in whole sentences; empty if it may.

    Args:
        than: the other's name.
        margin: how far a share may fall behind.
    """
    found = []
    for language, one in mine.items():
        for name, words in GATED.items():
            have, want = one[name], theirs[language][name]
            # 1e-9: a share that is behind by exactly the margin passes.
            if want is not None and (have is None or have < want - margin - 1e-9):
                said = words.format("none" if have is None else f"{have:.3f}")
                found.append(f"In {SPOKEN[language]} {said}; {than} has {want:.3f}, and the margin is {margin:g}.")
        if count := one["unsupported claims shown"]:
            claims = f"{count:.0f} claims were" if count > 1 else "1 claim was"
            found.append(f"In {SPOKEN[language]} {claims} shown that nothing cited holds; none may be.")
    return found
