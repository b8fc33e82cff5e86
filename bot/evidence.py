"""The gate: what a sentence claims must stand in what it cites.

A claim is a number, price, date, time, duration, percentage or code. A sentence passes if one rule
(one line) of a shown passage holds all its claims and is about the same thing; otherwise it is withheld.
Pure functions over text; knows no model. Never lets a claim through that no passage holds;
what it cannot see is a false sentence without a claim whose words the passage happens to use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bot.types import Citation, Passage

MIN_OVERLAP = 0.5
"""Share of a sentence's content words that its rule (with title and heading) must hold."""
MIN_OVERLAP_WITHOUT_CLAIM = 0.6
"""The same for a sentence that has no claim to be checked by."""
RIVAL_MARGIN = 0.12
"""A rule without the claims may match the sentence better than the rule with them by at most this."""

MARK = re.compile(r"\s*\[(\d+)\]")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|a\.m|p\.m|approx|vs|no|mr|ms|dr|U\.S)\.)$", re.IGNORECASE)
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
            if _ABBREVIATION.search(self._text[start:end]):
                continue
            while mark := MARK.match(self._text, end):
                end = mark.end()
            rest = self._text[end:].lstrip()
            if not final and (not rest or rest[0] == "["):
                break
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


@dataclass(frozen=True, slots=True)
class Claim:
    """A checkable particular: two agree if the values do and the units do not differ."""

    value: str
    unit: str = ""
    """Canonical unit; "" where none was read."""


_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "fourteen": 14, "fifteen": 15, "eighteen": 18, "twenty": 20, "twenty-four": 24,
    "thirty": 30, "forty-eight": 48, "sixty": 60, "ninety": 90, "hundred": 100,
}  # fmt: skip
_MONTHS = ("january february march april may june july august september october november december").split()
_UNITS = {
    "business day": "workday", "working day": "workday", "weekday": "workday", "calendar day": "day", "day": "day",
    "hour": "hour", "hr": "hour", "minute": "minute", "min": "minute", "second": "second", "week": "week",
    "month": "month", "year": "year", "percent": "%", "%": "%", "％": "%", "point": "point", "dollar": "USD",
    "usd": "USD", "cent": "cent", "个工作日": "workday", "工作日": "workday", "天": "day", "日": "day",
    "自然日": "day", "小时": "hour", "个小时": "hour", "钟头": "hour", "分钟": "minute", "秒": "second", "周": "week",
    "个星期": "week", "星期": "week", "个月": "month", "月": "month-of-year", "年": "year", "元": "CNY", "块钱": "CNY",
    "块": "CNY", "积分": "point", "分": "point", "°c": "°C", "℃": "°C", "度": "°C", "°f": "°F", "ml": "ml", "毫升": "ml",
    "l": "l", "liter": "l", "升": "l", "kg": "kg", "公斤": "kg", "千克": "kg", "g": "g", "克": "g", "lb": "lb",
    "pound": "lb", "oz": "oz", "ounce": "oz", "cm": "cm", "厘米": "cm", "mm": "mm", "毫米": "mm", "m": "m", "米": "m",
    "inch": "inch", "in": "inch", "w": "W", "watt": "W", "瓦": "W", "times": "times", "次": "times", "折": "折",
}  # fmt: skip
_UNIT = "|".join(sorted((re.escape(u) for u in _UNITS), key=len, reverse=True))
_CN = "零〇一二两三四五六七八九十百半"
_CN_UNIT = r"个工作日|工作日|个小时|小时|分钟|个月|个星期|星期|天|日|年|周|元|块|折|次|倍|件|级"
_CLOCK = re.compile(r"\b(\d{1,2})(?:[:：](\d{2}))?\s*([ap])\.?m\b\.?|\b(\d{1,2})[:：](\d{2})\b", re.IGNORECASE)
_DATE = re.compile(
    r"(?P<y>\d{4})[-/年](?P<m>\d{1,2})[-/月](?P<d>\d{1,2})日?|(?P<m2>\d{1,2})月(?P<d2>\d{1,2})[日号]?"
    rf"|\b(?P<mon>{'|'.join(_MONTHS)})\s+(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(?P<y3>\d{{4}}))?"
    rf"|\b(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<mon4>{'|'.join(_MONTHS)})\b(?:,?\s+(?P<y4>\d{{4}}))?",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"(?<![A-Za-z0-9])(?:(?=[A-Z0-9-]*\d)[A-Z][A-Z0-9-]{3,}|(?=[A-Z0-9-]*[A-Z])\d[A-Z0-9-]{7,})(?![A-Za-z0-9])"
)
_NUMBER = re.compile(
    rf"(?P<money>US\$|[$¥￥€£])?\s?(?P<n>\d+(?:,\d{{3}})*(?:\.\d+)?)(?:\s|-)?(?P<unit>{_UNIT})?(?:e?s\b|\b|(?=[\u4e00-\u9fff])|(?=\W)|$)",
    re.IGNORECASE,
)
_WORD_NUMBER = re.compile(rf"\b({'|'.join(sorted(_WORDS, key=len, reverse=True))})[\s-]+({_UNIT})s?\b", re.IGNORECASE)
_CN_NUMBER = re.compile(rf"([{_CN}]+)({_CN_UNIT})")
_MONEY = {"$": "USD", "us$": "USD", "¥": "CNY", "￥": "CNY", "€": "EUR", "£": "GBP"}


def _chinese(number: str) -> str | None:
    digits = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
    if number == "半":
        return "0.5"
    if "半" in number:
        return None
    total = current = 0
    for c in number:
        if c == "百":
            total, current = total + (current or 1) * 100, 0
        elif c == "十":
            total, current = total + (current or 1) * 10, 0
        else:
            current = current * 10 + digits[c]
    return str(total + current)


def _plain(number: str) -> str:
    number = number.replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else (number.lstrip("0") or "0")


@lru_cache(maxsize=4096)
def claims(text: str) -> frozenset[Claim]:
    """Every number, price, date, time, duration, percentage and code of a text, normalised."""
    found: set[Claim] = set()
    text = MARK.sub("", text)

    def take(pattern: re.Pattern[str], read) -> None:  # noqa: ANN001
        nonlocal text
        for match in pattern.finditer(text):
            if (claim := read(match)) is not None:
                found.add(claim)
        text = pattern.sub(lambda m: " " * len(m.group()) if read(m) is not None else m.group(), text)

    def date(m: re.Match[str]) -> Claim | None:
        year = m["y"] or m["y3"] or m["y4"] or ""
        month = m["m"] or m["m2"] or str(_MONTHS.index((m["mon"] or m["mon4"]).lower()) + 1)
        day = m["d"] or m["d2"] or m["d3"] or m["d4"]
        return Claim(f"{year}-{int(month):02}-{int(day):02}", "date")

    def clock(m: re.Match[str]) -> Claim:
        if m[3]:
            hour = int(m[1]) % 12 + (12 if m[3].lower() == "p" else 0)
            return Claim(f"{hour:02}:{m[2] or '00'}", "time")
        return Claim(f"{int(m[4]):02}:{m[5]}", "time")

    def chinese(m: re.Match[str]) -> Claim | None:
        if m[1] in ("一", "零", "半") and m[2] in ("件", "次", "级"):
            return None
        value = _chinese(m[1])
        return Claim(value, _UNITS.get(m[2], "")) if value else None

    take(_DATE, date)
    take(_CLOCK, clock)
    take(_CODE, lambda m: Claim(m[0].replace("-", "").upper(), "code"))
    take(
        _NUMBER,
        lambda m: Claim(
            _plain(m["n"]), _MONEY[m["money"].lower()] if m["money"] else _UNITS.get((m["unit"] or "").lower(), "")
        ),
    )
    take(_WORD_NUMBER, lambda m: Claim(str(_WORDS[m[1].lower()]), _UNITS.get(m[2].lower(), "")))
    take(_CN_NUMBER, chinese)
    return frozenset(found)


def holds(rule: frozenset[Claim], claim: Claim) -> bool:
    """Whether a rule's claims include this one; a date without a year agrees with the same day of any year."""
    for other in rule:
        if claim.unit == "date" and other.unit == "date":
            if claim.value == other.value or (claim.value[0] == "-" and other.value.endswith(claim.value)):
                return True
        elif claim.value == other.value and (claim.unit == other.unit or "" in (claim.unit, other.unit)):
            return True
    return False


_STOP = frozenset(
    "a an the is are was were be been it its this that these those to of in on at by for from with and or but if as "
    "we you your our i my me they them their he she do does did can could will would may might must shall should have "
    "has had not no yes so then than there here please also just any all each per more most up out about into over "
    "get got us still only who which what when where how".split()
)
_CN_STOP = frozenset("的了是在和与或及也都就还会可以您你我们请呢吗吧啊哦这那个有到对为把被让给后前时")


def words(text: str) -> list[str]:
    """Content words: English stems without stop words and numbers; pairs of Chinese characters."""
    found = []
    for token in re.findall(r"[a-z]+(?:'[a-z]+)?|[\u4e00-\u9fff]+", MARK.sub("", text).lower()):
        if token[0] >= "\u4e00":
            kept = [c for c in token if c not in _CN_STOP]
            found += ["".join(pair) for pair in zip(kept, kept[1:], strict=False)] or kept
        elif token not in _STOP and len(token) > 1:
            found.append(_stem(token))
    return found


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


def check(sentence: str, passages: Sequence[Passage]) -> Support | None:
    """The sentence with its evidence, or None if it must be withheld.

    The claims must stand together in one rule, or in two rules of one passage; the rule must share
    the sentence's words; and no other rule may match those words clearly better without holding the claims,
    for then a number has been read off the wrong rule.

    Args:
        sentence: one sentence, with or without citation marks.
        passages: as shown to the model, in its order.
    """
    claimed = claims(sentence)
    marks = [int(n) for n in MARK.findall(sentence)]
    body = MARK.sub("", sentence).strip()
    if not body:
        return None
    best: tuple[float, int, str] | None = None
    rival = 0.0
    for n, passage in enumerate(passages, 1):
        head = f"{passage.title} {passage.heading} "
        for source in _sources(passage, claimed):
            share = overlap(body, head + source)
            lines = source.count("\n") + 1
            if all(holds(claims(head + source), claim) for claim in claimed):
                # Among equals: the cited passage, and one rule before two.
                rank = share + (0.02 if n in marks else 0.0) - 0.03 * (lines - 1)
                if best is None or rank > best[0]:
                    best = (rank, n, source)
            elif lines == 1:
                rival = max(rival, share)
    least = MIN_OVERLAP if claimed else MIN_OVERLAP_WITHOUT_CLAIM
    if best is None or best[0] < least or (claimed and rival > best[0] + RIVAL_MARGIN):
        return None
    passage = passages[best[1] - 1]
    if not passage.cite:
        return Support(body, ())
    return Support(f"{body} [{best[1]}]", (cite(best[1], passage, best[2]),))


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
