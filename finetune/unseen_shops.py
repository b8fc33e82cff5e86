"""Draws a shop never seen: its documents, with names, units and numbers that agree throughout.

Knows the kinds of rules, no questions about them; `finetune.unseen_questions` asks.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.types import Language
from finetune.unseen_kinds import Kind, Section, Slots, Style, Templates, Topic, draw, fill, options

DOCUMENTS, PASSAGES, RULES = (8, 12), (3, 5), (3, 5)
"""How many documents a shop has, passages a document, and rules a passage: lowest and highest."""
MOST = 3
"""Values of one kind at most in a passage."""
HELD = 0.75
"""Chance that a shop has a rule of a kind in a passage that it has; the others can be asked about in vain."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of one shop."""

    kind: Kind | None
    """None for one that nobody asks about."""
    value: str
    text: str
    passage: str
    """Id of the passage that holds it."""
    slots: Slots


@dataclass(frozen=True, slots=True)
class Scene:
    """What stays the same throughout one shop."""

    rng: random.Random
    trade: str
    words: Mapping[str, Sequence[str]]
    facts: Slots
    style: Style


@dataclass(slots=True)
class Shop:
    """One shop: documents, and rows of questions about them."""

    id: str
    """Such as `en-03`."""
    name: str
    language: Language
    documents: dict[str, tuple[str, dict[str, list[str]]]] = field(default_factory=dict)
    """By `<category>/<name>`: the title, and rules by heading."""
    rules: list[Rule] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: list[tuple[Kind, str]] = field(default_factory=list)
    """Kind and value of the unanswerable questions that some kind of rule would answer."""


def draw_shop(language: Language, number: int, seed: int, templates: Templates) -> tuple[Shop, Scene, list[Section]]:
    """The shop of this number with its documents, its scene, and what its passages were made of."""
    rng = random.Random(f"{seed} {language} {number}")
    trades = sorted(templates.trades)
    random.Random(f"{seed} {language}").shuffle(trades)
    trade = trades[number % len(trades)]
    words, style = templates.trades[trade], _style(rng, language)
    facts = {name: draw(rng, spec, style) for name, spec in templates.slots.items()}
    facts |= {"shop": words["shop"][number // len(trades) % len(words["shop"])], "unit": style.currency}
    scene = Scene(rng, trade, words, facts, style)
    shop = Shop(f"{language}-{number:02}", facts["shop"], language)
    always = [t for t in templates.topics if any(s.trades for s in t.sections)]
    others = [
        t for t in templates.topics if t not in always and sum(s.suits(trade) for s in t.sections) >= PASSAGES[0]
    ]
    chosen = always + rng.sample(others, rng.randint(*DOCUMENTS) - len(always))
    here = [s for topic in templates.topics if topic in chosen for s in _document(scene, shop, topic)]
    return shop, scene, here


def _style(rng: random.Random, language: Language) -> Style:
    if language == "zh":
        return Style(language, rng.choice(("元", "元", "元", "¥")), "", True, True, rng.choice(("到", "至", "–")))
    currency = rng.choice("$$£€")
    whole_day = currency != "$" and rng.random() < 0.6
    return Style(language, currency, rng.choice((".95", ".90", ".50", "", ".99")), currency != "$", whole_day, " to ")


def _document(scene: Scene, shop: Shop, topic: Topic) -> list[Section]:
    """Write one document into the shop; what its passages were made of."""
    rng = scene.rng
    fitting = [s for s in topic.sections if s.suits(scene.trade)]
    own, common = [s for s in fitting if s.trades], [s for s in fitting if not s.trades]
    picked = own + rng.sample(common, min(len(common), rng.randint(*PASSAGES) - len(own)))
    picked = [s for s in fitting if s in picked]
    path = f"{topic.category}/{topic.name}"
    passages: dict[str, list[str]] = {}
    for section in picked:
        heading = fill(rng.choice(section.headings), scene.facts)
        rules = _passage(scene, section, f"{shop.language}/{path}#{heading}")
        passages[heading] = [rule.text for rule in rules]
        shop.rules += rules
    shop.documents[path] = fill(rng.choice(topic.titles), scene.facts), passages
    return picked


def _passage(scene: Scene, section: Section, id: str) -> list[Rule]:
    """The rules of one passage: of most of its kinds, some with several values, and plain ones."""
    rng = scene.rng
    kinds = [k for k in section.kinds if rng.random() < HELD] or [rng.choice(section.kinds)]
    values = {}
    for kind in section.kinds:
        found = options(kind, scene.words)
        values[kind.line] = rng.sample(found, min(len(found), MOST))
    plain = rng.sample(section.plain, len(section.plain))
    for kind in section.kinds:
        if kind not in kinds and sum(len(values[k.line]) for k in kinds) + len(plain) < RULES[0]:
            kinds.append(kind)
    counts, said = {k.line: 1 for k in kinds}, 0
    size = rng.randint(*RULES)
    while sum(counts.values()) + said < size:
        more = [line for line, count in counts.items() if count < len(values[line])]
        if more and (rng.random() < 0.7 or said == len(plain)):
            counts[rng.choice(more)] += 1
        elif said < len(plain):
            said += 1
        else:
            break
    rules = []
    for kind in section.kinds:
        wording = rng.choice(kind.rules)
        for value, own in values[kind.line][: counts.get(kind.line, 0)]:
            rules.append(make_rule(scene, kind, wording, value, own, id))
    return rules + [Rule(None, "", fill(text, scene.facts), id, {}) for text in plain[:said]]


def make_rule(scene: Scene, kind: Kind, wording: str, value: str, own: Slots, id: str) -> Rule:
    """A rule of this kind and value, with the kind's other slots drawn anew."""
    value = fill(value, scene.facts)
    specs = {name: "|".join(scene.words.get(spec[1:], [spec])) for name, spec in {**kind.slots, **own}.items()}
    drawn = {name: draw(scene.rng, spec, scene.style) for name, spec in specs.items()}
    slots = {**scene.facts, **drawn, "e": value, "E": value[:1].upper() + value[1:]}
    return Rule(kind, value, fill(wording, slots), id, slots)
