"""The gate: what a sentence claims must stand in what it cites.

A claim is a number, price, date, time, duration, percentage or code. A sentence passes if one rule
(one line) of a shown passage holds all its claims and is about the same thing; otherwise it is withheld.
Pure functions over text; knows no model. Never lets a claim through that no passage holds. What it cannot see is a
condition left out, or a false sentence without a claim in the passage's own words; so of a small model's sentence
`choose` takes only which rule it repeats, and the rule is said as it stands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bot.claims import MARK, Claim, claims, holds, read
from bot.types import Citation, Passage

MIN_OVERLAP = 0.6
"""Share of a sentence's content words that its rule (with title and heading) must hold."""
MIN_OVERLAP_WITHOUT_CLAIM = 0.7
"""The same for a sentence that has no claim to be checked by."""
RIVAL_MARGIN = 0.12
"""A rule without the claims may match the sentence better than the rule with them by at most this."""
CITED = 0.02
"""What a cited passage has ahead of another."""

_ABBREVIATION = re.compile(r"(?:\b(?:(?:[a-z]\.)+[a-z]|approx|vs|no|mr|mrs|ms|dr|st|inc)\.|^\s*\d+\.)$", re.IGNORECASE)
"""What a full stop ends that is no sentence; a list's number belongs to what it numbers."""
_NOT = re.compile(
    r"\b(?:not|no|never|cannot|without|neither|nor|nobody|nothing|none)\b|n['’]t\b"
    r"|不(?!同|过|仅|但|断|锈|足|超过|到|满|少于|低于|限|含|论)|没有|无法|无需|未|免(?!费)|勿|别(?!的|人|墅)"
    r"|(?<!七天)无(?!理由|线|论|障碍|休)",
    re.IGNORECASE,
)
"""Of 1,488 gold sentences 6 say "not" where their rule does not, or the other way round."""
_CLAUSE = re.compile(r"[,;，；]|\b(?:and|but|while|whereas)\b|而")
_BOUNDARY = re.compile(r"[.!?](?:[\"”')]*)(?=\s|\[|$)|[。！？；](?:[”’』」]*)|\n+")


class Sentences:
    """Cuts streamed text into whole sentences, each with the citation marks that follow it."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, delta: str) -> list[str]:
        """Sentences that the new text completes: those after which other text has begun."""
        self._text += delta
        return self._cut(final=False)

    def flush(self) -> list[str]:
        """What is left at the end, also without a full stop."""
        return self._cut(final=True)

    def _cut(self, *, final: bool) -> list[str]:
        found, start, position = [], 0, 0
        while match := _BOUNDARY.search(self._text, position):
            position = end = match.end()
            while mark := MARK.match(self._text, end):
                end = mark.end()
            rest = self._text[end:].lstrip()
            if not final and (not rest or rest[0] == "["):
                break
            if end == position and _ABBREVIATION.search(self._text[start:end]):
                continue
            if sentence := self._text[start:end].strip():
                found.append(sentence)
            start = position = max(end, position)
        self._text = self._text[start:]
        if final:
            if rest := self._text.strip():
                found.append(rest)
            self._text = ""
        return found


def sentences(text: str) -> list[str]:
    """The sentences of a whole text."""
    cutter = Sentences()
    return cutter.feed(text) + cutter.flush()


_STOP = frozenset(
    "a an the is are was were be been it its this that these those to of in on at by for from with and or but if as "
    "we you your our i my me they them their he she do does did can could will would may might must shall should have "
    "has had not no yes so then than there here please also just any all each per more most up out about into over "
    "get got us still only who which what when where how".split()
)
_HOUR = re.compile(r"早上|上午|中午|下午|晚上|(?<=\d)点")
_CN_STOP = frozenset("的了是在和与或及也都就还会可以您你我们请呢吗吧啊哦这那个有到对为把被让给后前时")


@lru_cache(4096)  # the same passages are read for every sentence
def words(text: str) -> tuple[str, ...]:
    """Content words: English stems without stop words and numbers; pairs of Chinese characters."""
    found = []
    for token in re.findall(r"[a-z]+(?:'[a-z]+)?|[\u4e00-\u9fff]+", _HOUR.sub(" ", MARK.sub("", text)).lower()):
        if token[0] >= "\u4e00":
            kept = [c for c in token if c not in _CN_STOP]
            found += ["".join(pair) for pair in zip(kept, kept[1:], strict=False)] or kept
        elif token not in _STOP and len(token) > 1:
            found.append(_stem(token))
    return tuple(found)


@lru_cache(10_000)
def _stem(word: str) -> str:
    word = word.split("'")[0]
    for ending in ("ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "ly", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def overlap(sentence: str, source: str) -> float:
    """Share of the sentence's content words that the source has, 0 to 1; 1 for a sentence without any."""
    wanted = words(sentence)
    if not wanted:
        return 1.0
    there = set(words(source))
    return sum(word in there for word in wanted) / len(wanted)


@dataclass(frozen=True, slots=True)
class Support:
    """What a sentence stands on."""

    sentence: str
    """With the right citation marks: of shown passages only, and at least one."""
    citations: tuple[Citation, ...]


def rules(passage: Passage) -> list[str]:
    """The lines of a passage, each one rule."""
    return [line for line in passage.text.splitlines() if line.strip()]


def check(sentence: str, passages: Sequence[Passage], min_overlap: float | None = None) -> Support | None:
    """The sentence with its evidence, or None if it must be withheld.

    The claims must stand together in one rule, or in two rules of one passage; the rule must share
    the sentence's words and say "not" where it does; and no other rule may match those words clearly better
    without holding the claims, for then a number has been read off the wrong rule, nor deny the sentence.

    Args:
        sentence: one sentence, with or without citation marks.
        passages: as shown to the model, in its order.
        min_overlap: instead of MIN_OVERLAP and MIN_OVERLAP_WITHOUT_CLAIM.
    """
    claimed = claims(sentence)
    marks = [int(n) for n in MARK.findall(sentence)]
    body = MARK.sub("", sentence).strip()
    if not body:
        return None
    best: tuple[float, int, str] | None = None
    rival, denials = 0.0, list[tuple[float, str]]()
    for n, passage in enumerate(passages, 1):
        head = f"{passage.title} {passage.heading} "
        for source in _sources(passage, claimed):
            share = overlap(body, head + source)
            lines = source.count("\n") + 1
            if _supports(body, claimed, head, source):
                # Among equals: the cited passage, and one rule before two.
                rank = share + (CITED if n in marks else 0.0) - 0.03 * (lines - 1)
                if best is None or rank > best[0]:
                    best = (rank, n, source)
            elif lines == 1:
                rival = max(rival, share)
                denials += [(share, source)] if _denies(body, source) else []
    least = min_overlap or (MIN_OVERLAP if claimed else MIN_OVERLAP_WITHOUT_CLAIM)
    if best is None or best[0] < least or (claimed and rival > best[0] + RIVAL_MARGIN):
        return None
    passage = passages[best[1] - 1]
    unsaid = set(words(body)) - set(words(f"{passage.title} {passage.heading} {best[2]}"))
    if any(share + CITED >= best[0] and unsaid & set(words(source)) for share, source in denials):
        return None
    if not passage.cite:
        return Support(body, ())
    return Support(f"{body} [{best[1]}]", (cite(best[1], passage, best[2]),))


def choose(sentence: str, passages: Sequence[Passage]) -> Support | None:
    """The one rule that a sentence resembles most, said as it stands; None if it resembles none.

    What a small model's words are good for: it repeats rules, and may lose a word or a condition on the way.
    """
    marks = [int(n) for n in MARK.findall(sentence)]
    best: tuple[float, int, str] | None = None
    for n, passage in enumerate(passages, 1):
        for line in rules(passage):
            share = overlap(sentence, line)
            rank = share + overlap(line, sentence) + (CITED if n in marks else 0.0)
            if words(sentence) and share >= MIN_OVERLAP and (best is None or rank > best[0]):
                best = (rank, n, line)
    if best is None:
        return None
    _, n, line = best
    body, passage = line.removeprefix("- "), passages[n - 1]
    return Support(f"{body} [{n}]", (cite(n, passage, line),)) if passage.cite else Support(body, ())


def _supports(body: str, claimed: frozenset[Claim], head: str, source: str) -> bool:
    """Whether a source holds all claims, each as often as the sentence makes it, and none crosswise."""
    if not all(holds(claims(head + source), claim) for claim in claimed):
        return False
    if _denies(body, source):
        return False
    made, there = (Counter(claim.value for claim in read(text)) for text in (body, head + source))
    if any(times > there[value] > 0 for value, times in made.items()):
        return False  # "5 to 5 days" of "3 to 5 days".
    first, _, second = source.partition("\n")
    return not second or not _crossed(body, first, second)


def _denies(body: str, source: str) -> bool:
    """Whether the sentence says "not" where the source does not, or leaves out a "not" of what it repeats."""
    if _NOT.search(body):
        return not _NOT.search(source)
    return any(_NOT.search(clause) and overlap(clause, body) >= 0.4 for clause in _CLAUSE.split(source))


def _crossed(body: str, first: str, second: str) -> bool:
    """Whether a clause says of what only one rule is about what only the other rule claims."""
    told = [set(words(first)), set(words(second))]
    own = [told[0] - told[1], told[1] - told[0]]
    about = None
    for clause in _CLAUSE.split(body):
        shares = [sum(word in o for word in words(clause)) for o in own]
        if shares[0] != shares[1]:
            about = (first, second)[shares[1] > shares[0]]
        if about and not all(holds(claims(about), claim) for claim in claims(clause)):
            return True
    return False


def _sources(passage: Passage, claimed: frozenset[Claim]) -> Iterable[str]:
    """Each rule, and each two rules of which both hold a claim that the other lacks."""
    lines = rules(passage)
    yield from lines
    held = [{claim for claim in claimed if holds(claims(line), claim)} for line in lines]
    for i, first in enumerate(lines):
        for j in range(i + 1, len(lines)):
            if held[i] - held[j] and held[j] - held[i]:
                yield f"{first}\n{lines[j]}"


def says_something(sentence: str) -> bool:
    """Whether there is a claim or a content word; "Yes." alone says nothing that could be checked."""
    return bool(claims(sentence) or words(sentence))


def cite(n: int, passage: Passage, quote: str) -> Citation:
    """A citation of a passage."""
    return Citation(n, passage.doc_id, passage.id, f"{passage.title}: {passage.heading}", quote, passage.url)
