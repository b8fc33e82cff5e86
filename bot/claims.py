"""What a text claims: its numbers, prices, dates, times, durations, percentages and codes, in both languages.

Pure functions over text. "3–5 business days", "three to five working days" and "三到五个工作日" claim the same.
Whatever is misread is misread alike in an answer and in its passage, so that in doubt a sentence is withheld.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

MARK = re.compile(r"\s*\[(\d+)\]")
"""A citation mark, which claims nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A checkable particular: two agree if the values do and the units do not differ."""

    value: str
    unit: str = ""
    """Canonical unit; "" where none was read."""


_UNITS = {
    "business day": "workday", "working day": "workday", "weekday": "workday", "calendar day": "day", "day": "day",
    "hour": "hour", "hr": "hour", "h": "hour", "minute": "minute", "min": "minute", "second": "second",
    "week": "week", "wk": "week", "month": "month", "year": "year", "yr": "year", "percent": "%", "per cent": "%",
    "%": "%", "％": "%", "point": "point", "dollar": "USD", "usd": "USD", "buck": "USD", "cent": "cent",
    "个工作日": "workday", "工作日": "workday", "天": "day", "日": "day", "自然日": "day", "个自然日": "day",
    "小时": "hour", "个小时": "hour", "钟头": "hour", "个钟头": "hour", "分钟": "minute", "秒": "second", "周": "week",
    "个星期": "week", "星期": "week", "个月": "month", "月": "month-of-year", "年": "year", "周岁": "age", "岁": "age",
    "元": "CNY", "块钱": "CNY", "块": "CNY", "积分": "point", "分": "point", "°c": "°C", "℃": "°C", "度": "°C",
    "°f": "°F", "ml": "ml", "毫升": "ml", "l": "l", "liter": "l", "升": "l", "kg": "kg", "公斤": "kg", "千克": "kg",
    "g": "g", "克": "g", "lb": "lb", "pound": "lb", "oz": "oz", "ounce": "oz", "cm": "cm", "厘米": "cm", "mm": "mm",
    "毫米": "mm", "m": "m", "米": "m", "inch": "inch", "in": "inch", "英寸": "inch", "w": "W", "watt": "W", "瓦": "W",
    "v": "V", "volt": "V", "伏": "V", "times": "times", "次": "times", "折": "折",
    "级": "级", "倍": "倍", "层": "层", "星": "星", "成": "成", **dict.fromkeys("件个张只条位名台套瓶包箱份笔单款人种根片把颗字", "count"),
}  # fmt: skip
_UNIT = "|".join(sorted((re.escape(u) for u in _UNITS), key=len, reverse=True))
_TIME_UNIT = r"(?:business|working|calendar)\s+day|day|week|month|year|hour|minute"
_MONEY = {"$": "USD", "us$": "USD", "¥": "CNY", "￥": "CNY", "€": "EUR", "£": "GBP"}
_SCALES = {"百": 100, "千": 1000, "万": 10_000, "亿": 100_000_000, "hundred": 100, "thousand": 1000, "million": 10**6}

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {w: n for n, w in enumerate(_SMALL)} | {w: 10 * n for n, w in enumerate(_TENS, 2)}
_MONTHS: tuple[str, ...] = tuple(
    "january february march april may june july august september october november december".split()
)
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_CN_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CN_SCALES = {"十": 10, "百": 100, "千": 1000}
_CN = "零〇一二两三四五六七八九十百千万"
_MONTH = "|".join(
    f"{m[:3]}(?:{m[3:]}|t\\.?|\\.)?" if m == "september" else f"{m[:3]}(?:{m[3:]}|\\.)?" for m in _MONTHS
)
_DATE = re.compile(
    r"(?P<y>\d{4})[-/年](?P<m>\d{1,2})[-/月](?P<d>\d{1,2})日?|(?P<m2>\d{1,2})月(?P<d2>\d{1,2})[日号]?"
    rf"|\b(?P<mon>{_MONTH})\s+(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(?P<y3>\d{{4}}))?"
    rf"|(?<!\d)(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<mon4>{_MONTH})(?![a-z])(?:,?\s+(?P<y4>\d{{4}}))?",
    re.IGNORECASE,
)
_DAY_NAME = re.compile(
    rf"\b(?:(?P<en>(?i:{'|'.join(_DAYS)}))s?|(?P<short>Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun))\b"
    r"|(?:周|星期|礼拜)(?P<zh>[一二三四五六日天])(?![次个天年月])"
)
_MONTH_NAME = re.compile(rf"\b(?:{'|'.join(m.title() for m in _MONTHS if m not in ('may', 'march'))})\b")
_CLOCK = re.compile(
    r"(?<![\d.])(?P<h>\d{1,2})(?:[:：.](?P<min>\d{2}))?\s*(?P<half>[ap])\.?m\b\.?|\b(?P<named>noon|midnight)\b"
    r"|(?:(?P<part>凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜里|[早晚](?=\d)))?\s?"
    r"(?:(?<!\d)(?P<h2>\d{1,2})[:：](?P<min2>\d{2})(?!\d)"
    rf"|(?<!\d)(?P<h3>\d{{1,2}}|(?<=[上里午晨])[{_CN}]{{1,3}})点(?!击|开|选|[“\"])(?:(?P<half3>半)|(?P<min3>\d{{1,2}})分?)?)",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"(?<![A-Za-z0-9])(?:(?=[A-Z0-9-]*\d)[A-Z][A-Z0-9-]{3,}|(?=[A-Z0-9-]*[A-Z])\d[A-Z0-9-]{7,}|[A-Z]{1,3}\d{1,3})(?![A-Za-z0-9])"
)
_NUMBER = re.compile(
    r"(?P<money>US\$|[$¥￥€£])?\s?(?P<n>\d+(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)"
    r"(?:\s?(?P<scale>百(?!分)|千(?![克瓦米])|万|亿|(?:hundred|thousand|million)\b))?"
    rf"(?:[\s-]?(?P<unit>{_UNIT})(?:e?s\b|\b|(?=[\u4e00-\u9fff])|(?=\W)|$)|(?P<letters>[a-z]+))?(?P<half>半(?![价折数]))?",
    re.IGNORECASE,
)
_WORD = "|".join(sorted([*_WORDS, "hundred", "thousand"], key=len, reverse=True))
_WORD_NUMBER = re.compile(
    rf"\b(?P<n>(?:{_WORD})(?:[\s-]+(?:and\s+)?(?:{_WORD}))*)\b(?:[\s-]+(?P<unit>{_TIME_UNIT}|{_UNIT})(?:e?s)?\b)?",
    re.IGNORECASE,
)
_CN_NUMBER = re.compile(rf"(?!十分(?!钟))(?P<n>[{_CN}]+)(?P<unit>{_UNIT})(?P<half>半(?![价折数]))?")
_CN_PERCENT = re.compile(rf"百分之(?:(?P<n>\d+(?:\.\d+)?)|(?P<cn>[{_CN}]+))")
_ONE_NUMBER = rf"(?:\d[\d,]*(?:\.\d+)?|[{_CN}]{{1,8}}|(?:{_WORD})(?:-(?:{_WORD}))?)"
_RANGE = re.compile(
    rf"({_ONE_NUMBER})(?:\s+(?:to|or|and)\s+|\s*(?<![a-z])[-–—~～至到或]\s*)"
    rf"(?={_ONE_NUMBER}[\s-]?({_UNIT})(?:e?s\b|\b|[\u4e00-\u9fff]|\W|$))",
    re.IGNORECASE,
)
"""A range whose unit stands behind its second number only."""
_A_WHILE = re.compile(rf"\ban?\s+(?P<unit>{_TIME_UNIT})\b", re.IGNORECASE)
_SAID = {
    r"\btwice\b|\bdoubled?\b|双倍|翻倍|加倍": Claim("2"), r"\btriple\b": Claim("3"), r"\bdozen\b": Claim("12"),
    r"(?<!feel )\bfree\b|免费|包邮|免运费": Claim("free", "price"),
    r"\bhalf\b|半价|一半|对半": Claim("0.5"), r"\bsame(?:[\s-]business)?[\s-]day\b|当[天日]": Claim("0", "days later"),
    r"\bnext(?:[\s-](?:business|working))?[\s-]day\b|次日|第二天|隔[天日]": Claim("1", "days later"),
}  # fmt: skip
_SAID_PATTERNS = [(re.compile(pattern, re.IGNORECASE), claim) for pattern, claim in _SAID.items()]


def _english(number: str) -> int:
    total = current = 0
    for word in re.findall(r"[a-z]+", number.lower()):
        if word == "hundred":
            current = (current or 1) * 100
        elif word == "thousand":
            total, current = total + (current or 1) * 1000, 0
        else:
            current += _WORDS.get(word, 0)
    return total + current


def _chinese(number: str) -> int:
    total = section = digit = 0
    for c in number:
        if c == "万":
            total, section, digit = (total + section + digit or 1) * 10_000, 0, 0
        elif c in _CN_SCALES:
            section, digit = section + (digit or 1) * _CN_SCALES[c], 0
        else:
            digit = digit * 10 + _CN_DIGITS[c]
    return total + section + digit


def _plain(number: str, scale: int = 1, half: bool = False) -> str:
    number = number.replace(",", "")
    if scale != 1 or half:
        number = f"{float(number) * scale + 0.5 * half:.6f}"
    whole, _, rest = number.partition(".")
    return (whole.lstrip("0") or "0") + (f".{rest}".rstrip("0").rstrip("."))


def _date(m: re.Match[str]) -> Claim:
    year = m["y"] or m["y3"] or m["y4"] or ""
    name = (m["mon"] or m["mon4"] or "")[:3].lower()
    month = m["m"] or m["m2"] or [n for n, month in enumerate(_MONTHS, 1) if month.startswith(name)][0]
    return Claim(f"{year}-{int(month):02}-{int(m['d'] or m['d2'] or m['d3'] or m['d4']):02}", "date")


def _day_name(m: re.Match[str]) -> Claim:
    if m["zh"]:
        return Claim(str("一二三四五六日".find(m["zh"].replace("天", "日")) + 1), "weekday")
    name = (m["en"] or m["short"])[:3].lower()
    return Claim(str([day[:3] for day in _DAYS].index(name) + 1), "weekday")


def _clock(m: re.Match[str]) -> Claim:
    if m["named"]:
        return Claim("12:00" if m["named"].lower() == "noon" else "00:00", "time")
    if m["half"]:
        return Claim(f"{int(m['h']) % 12 + 12 * (m['half'].lower() == 'p'):02}:{m['min'] or '00'}", "time")
    written = m["h2"] or m["h3"]
    hour, part = int(written) if written.isdecimal() else _chinese(written), m["part"] or ""
    if part in ("下午", "傍晚", "晚上", "晚", "夜里") and hour <= 12 or part == "中午" and hour < 11:
        hour = hour % 12 + 12 if hour < 12 or part == "下午" else 24
    return Claim(f"{hour % 24:02}:{int(m['min2'] or m['min3'] or (30 if m['half3'] else 0)):02}", "time")


def _number(m: re.Match[str]) -> Claim:
    unit = (m["unit"] or m["letters"] or "").lower()
    unit = "" if unit in ("st", "nd", "rd", "th") else _UNITS.get(unit.removesuffix("s"), _UNITS.get(unit, unit))
    value = _plain(m["n"], _SCALES[m["scale"].lower()] if m["scale"] else 1, bool(m["half"]))
    return Claim(value, _MONEY[m["money"].lower()] if m["money"] else unit)


def _chinese_number(m: re.Match[str]) -> Claim | None:
    if m["n"] in "一零" and _UNITS[m["unit"]] in ("count", "times", "级", "层", "成"):
        return None  # One of something is mostly no count: "一个", "一次".
    discount = m["unit"] == "折" and set(m["n"]) <= _CN_DIGITS.keys()  # 九五折 is 95折, not 14.
    value = "".join(str(_CN_DIGITS[c]) for c in m["n"]) if discount else str(_chinese(m["n"]))
    return Claim(_plain(value, half=bool(m["half"])), _UNITS.get(m["unit"], ""))


def _word_number(m: re.Match[str]) -> Claim | None:
    unit = re.sub(r"\s+", " ", (m["unit"] or "").lower())
    if m["n"].lower() == "one" and len(unit) < 3:  # "one of", "one in ten"
        return None
    return Claim(str(_english(m["n"])), _UNITS.get(unit, "") if len(unit) > 2 else "")


_READERS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], Claim | None]]] = [
    (_DATE, _date),
    (_DAY_NAME, _day_name),
    (_MONTH_NAME, lambda m: Claim(str(_MONTHS.index(m[0].lower()) + 1), "month-of-year")),
    (_CLOCK, _clock),
    (_CODE, lambda m: Claim(m[0].replace("-", ""), "code")),
    (_CN_PERCENT, lambda m: Claim(_plain(m["n"]) if m["n"] else str(_chinese(m["cn"])), "%")),
    (_RANGE, lambda m: None),
    (re.compile(r"半(?=年|个|小时|天|月)"), lambda m: Claim("0.5")),
    (_NUMBER, _number),
    (_WORD_NUMBER, _word_number),
    (_CN_NUMBER, _chinese_number),
    (_A_WHILE, lambda m: Claim("1", _UNITS[re.sub(r"\s+", " ", m["unit"].lower())])),
    *((pattern, lambda m, claim=claim: claim) for pattern, claim in _SAID_PATTERNS),
]
_PLAIN_DIGITS = str.maketrans("０１２３４５６７８９．，＄", "0123456789.,$") | {0xBD: ".5", 0x17F: "s", 0x212A: "K"}
"""Digits of full width; and what a pattern takes for another letter when it ignores case."""


@lru_cache(maxsize=4096)
def read(text: str) -> tuple[Claim, ...]:
    """Every claim of a text, normalised, as often as it is made."""
    found: list[Claim] = []
    text = re.sub(r"^\s*\d+[.)、]\s+", "", MARK.sub("", text).translate(_PLAIN_DIGITS))  # A list's own numbers.
    for pattern, reader in _READERS:
        if pattern is _RANGE:
            text = pattern.sub(lambda m: f"{m[1]}{'' if m[2] >= '一' else ' '}{m[2]} , ", text)
            continue

        def taken(match: re.Match[str], reader=reader) -> str:  # noqa: ANN001
            if (claim := reader(match)) is None:
                return match[0]
            found.append(claim)
            return " " * len(match[0])

        text = pattern.sub(taken, text)
    return tuple(found)


def claims(text: str) -> frozenset[Claim]:
    """The claims of a text, each once."""
    return frozenset(read(text))


def holds(rule: frozenset[Claim], claim: Claim) -> bool:
    """Whether a rule's claims include this one; a date without a year agrees with the same day of any year."""
    for other in rule:
        if claim.unit == "date" and other.unit == "date":
            if claim.value == other.value or (claim.value[0] == "-" and other.value.endswith(claim.value)):
                return True
        elif claim.value == other.value and (claim.unit == other.unit or "" in (claim.unit, other.unit)):
            return True
    return False
