"""The kinds of rules of the shops never seen, read from `finetune/data/unseen/<language>.txt`, and their slots.

The head of the English file explains the format. Knows no shop: `finetune.unseen` makes shops of these.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.errors import DocumentError
from bot.types import Language

FOLDER = Path(__file__).parent / "data/unseen"
SLOT = re.compile(r"\{(\w+)\}")
SPEC = re.compile(r"(\$|%|range|time|date|g|kg|km|cm|deg|) ?(\d+)-(\d+)(?:/(\d+))?")
"""What is drawn for a slot: unit, lowest, highest, and the step or, for a range, how much wider it may be."""
ONE = re.compile(
    r"(?<![\d.,$£€])\b1 ((?:working |more |extra |full )*)(day|week|month|hour|year|minute|item|color|night|place)s\b"
)

Slots = Mapping[str, str]


@dataclass(slots=True)
class Kind:
    """One kind of rule."""

    line: int
    """Where it begins in its file, from 1."""
    values: list[tuple[str, Slots]] = field(default_factory=list)
    """What may stand for `{e}`, each with slots of its own; empty for a kind without `{e}`."""
    slots: dict[str, str] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    """Short questions, asked after one about an earlier kind of the same section."""
    shared: bool = False
    """Whether rules of other kinds may answer its questions too."""


@dataclass(slots=True)
class Section:
    """What a passage is made of."""

    headings: list[str]
    trades: tuple[str, ...] = ()
    """Shops that have it, always; empty: all may."""
    unlike: tuple[str, ...] = ()
    """Shops that it does not suit."""
    kinds: list[Kind] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    """Rules without slots of their own, about which nobody asks."""
    gaps: list[str] = field(default_factory=list)
    """Questions near the section that no rule answers."""

    def suits(self, trade: str) -> bool:
        """Whether a shop of this trade may have it."""
        return trade not in self.unlike and (not self.trades or trade in self.trades)


@dataclass(slots=True)
class Topic:
    """What a document is made of."""

    name: str
    category: str
    titles: list[str]
    sections: list[Section] = field(default_factory=list)


@dataclass(slots=True)
class Templates:
    """One language's file."""

    slots: dict[str, str] = field(default_factory=dict)
    """Drawn once for a shop."""
    trades: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Per trade its `shop` names, `goods` (plural), `things` (single products), and slots such as `weight`."""
    topics: list[Topic] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    """Questions that have nothing to do with a shop."""


@dataclass(frozen=True, slots=True)
class Style:
    """How one shop writes money, measures and times."""

    language: Language
    currency: str
    cents: str
    """Behind small prices, such as `.95`; empty for whole ones."""
    metric: bool
    """Kilograms and centimeters; otherwise pounds and inches."""
    whole_day: bool
    """17:00; otherwise 5 pm."""
    to: str
    """Between the ends of a range."""


def read_templates(language: Language, folder: Path = FOLDER) -> Templates:
    """Read one language's kinds.

    Raises:
        DocumentError: lines that cannot be read, or kinds that lack something; one message names them all.
    """
    path = folder / f"{language}.txt"
    made, problems = Templates(), []
    kind: Kind | None = None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror}; restore it from the repository.") from error
    for number, line in enumerate(lines, 1):
        mark, _, rest = line.partition(" ")
        section = made.topics[-1].sections[-1] if made.topics and made.topics[-1].sections else None
        if mark in tuple("=:-?>*") and mark and kind is None:
            if section is None:
                problems.append(f'{path}:{number}: "{line}" stands before the first "## "; move it below one.')
                continue
            kind = Kind(number)
            section.kinds.append(kind)
        try:
            match mark:
                case "":
                    kind = None
                case "#":
                    pass
                case "$":
                    made.slots |= _slots(rest)
                case "@":
                    name, _, words = rest.partition(" : ")
                    made.trades[name] = {k: v.split("|") for k, v in _slots(words).items()}
                case "&":
                    made.strange.append(rest)
                case "==":
                    parts = [part.strip() for part in rest.split("|")]
                    if len(parts) < 3 or parts[1] not in ("faq", "policy"):
                        raise ValueError('is no document; write "== file | faq or policy | title | another title"')
                    made.topics.append(Topic(parts[0], parts[1], parts[2:]))
                    kind = None
                case "##" if made.topics:
                    kind = None
                    headings, _, trades = rest.partition(" @ ")
                    unlike = trades.startswith("not ")
                    names = tuple(t.strip() for t in trades.removeprefix("not ").split(",") if t.strip())
                    made.topics[-1].sections.append(
                        Section(
                            [h.strip() for h in headings.split("|")],
                            trades=() if unlike else names,
                            unlike=names if unlike else (),
                        )
                    )
                case "+" | "!" if section is not None:
                    (section.plain if mark == "+" else section.gaps).append(rest)
                case "=" | ":" | "-" | "?" | ">" | "*" if kind is not None:
                    _add(kind, mark, rest)
                case _:
                    raise ValueError(
                        'begins with none of "$ @ & == ## + ! = : - ? > *", or stands before its document'
                    )
        except ValueError as error:
            problems.append(f'{path}:{number}: "{line}" {error}.')
    kinds = [k for t in made.topics for s in t.sections for k in s.kinds]
    problems += [f"{path}:{k.line}: the kind {what}." for k in kinds for what in _wrong(k, made)]
    if problems:
        raise DocumentError("\n".join(problems))
    return made


def _slots(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (part.strip() for part in re.split("[;；]", text))):
        name, sign, spec = part.partition(" = ")
        if not sign:
            raise ValueError(f'has the slot "{part}"; write "name = what"')
        found[name.strip()] = spec.strip()
    return found


def _add(kind: Kind, mark: str, rest: str) -> None:
    match mark:
        case "=":
            values, _, own = rest.partition(" : ")
            kind.values += [(value.strip(), _slots(own)) for value in values.split("|")]
        case ":":
            kind.slots |= _slots(rest)
        case "-":
            kind.rules.append(rest)
        case "?":
            kind.questions.append(rest)
        case ">":
            kind.after.append(rest)
        case _:
            kind.shared = True


def _wrong(kind: Kind, made: Templates) -> list[str]:
    """What is wrong with a kind that has been read."""
    wrong = []
    if len(kind.rules) < 3 or len(kind.questions) < 5:
        wrong.append('needs three rules ("- ") and five questions ("? ") at least')
    if kind.values and (bare := [t for t in kind.rules + kind.questions if not {"e", "E"} & set(SLOT.findall(t))]):
        wrong.append(f'has values, but "{bare[0]}" lacks {{e}}')
    for spec in [*kind.slots.values(), *(spec for _, own in kind.values for spec in own.values())]:
        if re.search(r"\d-\d", spec) and not SPEC.fullmatch(spec):
            wrong.append(f'has the slot "{spec}", which is no unit with its lowest and highest number')
    known = {*made.slots, *kind.slots, *(("e", "E") if kind.values else ()), "shop", "unit"}
    known |= set.intersection(*(set(own) for _, own in kind.values)) if kind.values else set()
    for text in kind.rules + kind.questions + kind.after:
        if unknown := set(SLOT.findall(text)) - known:
            wrong.append(f'uses {{{sorted(unknown)[0]}}} in "{text}", which nothing fills')
    return wrong


def draw(rng: random.Random, spec: str, style: Style) -> str:
    """A value for a slot, as this shop would write it."""
    found = SPEC.fullmatch(spec)
    if not found:
        return rng.choice(spec.split("|")).strip()
    unit, low, high, step = found[1], int(found[2]), int(found[3]), int(found[4] or 1)
    number = rng.randint(low, high) if unit == "range" else rng.randrange(low, high + 1, step)
    english = style.language == "en"
    match unit:
        case "$":
            small = found[4] is None and high < 50 and english
            money = f"{number}{style.cents if small else ''}"
            return f"{money}{style.currency}" if style.currency == "元" else f"{style.currency}{money}"
        case "%":
            return f"{number}%"
        case "range":
            return f"{number}{style.to}{number + rng.randint(1, step)}"
        case "time":
            half = rng.random() < 0.25
            if style.whole_day:
                return f"{number}:{'30' if half else '00'}"
            return f"{(number - 1) % 12 + 1}{':30' if half else ''} {'am' if number < 12 else 'pm'}"
        case "date":
            day = rng.randint(5, 28)
            if not english:
                return f"{number}月{day}日"
            month = "January February March April May June July August September October November December"
            name = month.split()[number - 1]
            return f"{day} {name}" if style.metric else f"{name} {day}"
        case "g" | "kg" | "km" | "cm" | "deg":
            return _measure(number, unit, style)
        case _:
            return str(number)


def _measure(number: int, unit: str, style: Style) -> str:
    if style.language == "zh":
        name = {"g": "克", "kg": "公斤", "km": "公里", "cm": "厘米", "deg": "℃"}[unit]
        return f"{number}{name}"
    if style.metric:
        return f"{number} {'°C' if unit == 'deg' else unit}"
    if unit == "deg":
        return f"{round(number * 9 / 5 + 32)} °F"
    factor, name = {
        "g": (1 / 28.35, "oz"),
        "kg": (2.2046, "lb"),
        "km": (0.6214, "miles"),
        "cm": (1 / 2.54, "inches"),
    }[unit]
    return f"{max(2, round(number * factor))} {name}"


def fill(text: str, slots: Slots) -> str:
    """The text with its slots filled, and `1 days` mended."""
    return ONE.sub(r"1 \1\2", SLOT.sub(lambda found: slots[found[1]], text))


def options(kind: Kind, trade: Mapping[str, Sequence[str]]) -> list[tuple[str, Slots]]:
    """All values of `{e}` in a shop of this trade."""
    found: list[tuple[str, Slots]] = []
    for value, own in kind.values:
        found += [(word, own) for word in trade[value[1:]]] if value.startswith("@") else [(value, own)]
    return found or [("", {})]
