"""Questions about a shop never seen: what its rules answer, and what they do not, as shoppers type.

Knows the drawn shop, no files and no model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from bot.types import Language
from finetune.unseen_kinds import Kind, Section, Templates, fill, options
from finetune.unseen_shops import Rule, Scene, Shop, make_rule

COUNTS = {"answerable": 20, "follow_up": 3, "two_questions": 2, "unanswerable": 8}
ABSENT = {"near": 3, "value": 2, "gap": 1, "far": 1, "strange": 1}
"""Unanswerable questions: of a kind that its passage lacks, of a value that it lacks, of what no kind says,
of a kind whose passage the shop lacks, and off the topic."""

JOIN = {
    "en": (", and ", "? also ", " + ", ". second thing: ", "? oh and "),
    "zh": ("，另外", "？还想问", "；", "，顺便问下", " 还有一个事"),
}
NEXT = {
    "en": ("and {}?", "what if its {}?", "ok and {}", "{} too?", "hm, and with {}"),
    "zh": ("那{}呢", "{}的话呢？", "要是{}呢", "{}也这样？", "再问下{}"),
}
HELLO = {
    "en": ("hi! ", "good morning, ", "hello there. ", "hey, ", "me again: ", "one thing: ", "sorry, "),
    "zh": ("在吗 ", "老板，", "您好。", "哈喽，", "打扰了，", "咨询一下，", "那个…"),
}
BYE = {
    "en": (" thx", ", thanks in advance", "!!", " plz", " :-)", "... any idea?"),
    "zh": ("，多谢", "～～", "！！", "，求回复", "哦", "，先谢谢了"),
}
SHORT = {
    "en": ((" you ", " u "), (" are ", " r "), (" your ", " ur "), ("please", "pls"), (" and ", " n "), (" what ", " wat ")),
    "zh": (("怎么", "咋"), ("什么", "啥"), ("没有", "木有"), ("多少钱", "多钱"), ("知道", "造"), ("时候", "时侯")),
}  # fmt: skip


def ask(scene: Scene, shop: Shop, templates: Templates, here: Sequence[Section], abstain: str) -> None:
    """Write the rows of questions into the shop.

    Args:
        here: what the shop's passages were made of.
        abstain: the answer where no rule answers.
    """
    rows = [*_asked(scene, shop), *_unanswerable(scene, shop, templates, here, abstain)]
    shop.rows += [{"id": f"{shop.id}-{place:03}", **row} for place, row in enumerate(rows)]


def _asked(scene: Scene, shop: Shop) -> list[dict[str, Any]]:
    """The questions that the shop's rules answer."""
    rng, language = scene.rng, shop.language
    asked = [rule for rule in shop.rules if rule.kind]
    rows = [
        _row("answerable", _typed(rng, _question(rng, rule), rule, language), [rule], language)
        for rule in rng.sample(asked, min(len(asked), COUNTS["answerable"]))
    ]
    follows = _follow_ups(rng, asked, language)
    taken: set[int] = set()
    for first, second, text in rng.sample(follows, len(follows)):
        if second.kind and second.kind.line not in taken and len(taken) < COUNTS["follow_up"]:
            taken.add(second.kind.line)
            history = [
                {"role": "user", "content": _typed(rng, _question(rng, first), first, language)},
                {"role": "assistant", "content": _cited([first], language)},
            ]
            rows.append(_row("follow_up", text, [second], language, history))
    for _ in range(COUNTS["two_questions"]):
        one = rng.choice(asked)
        other = rng.choice([rule for rule in asked if rule.passage != one.passage])
        text = _question(rng, one) + rng.choice(JOIN[language]) + _question(rng, other)
        rows.append(_row("two_questions", _typed(rng, text, one, language), [one, other], language))
    return rows


def _question(rng: random.Random, rule: Rule) -> str:
    return fill(rng.choice(rule.kind.questions), rule.slots) if rule.kind else ""


def _follow_ups(rng: random.Random, asked: Sequence[Rule], language: Language) -> list[tuple[Rule, Rule, str]]:
    """What was asked first, what is meant next, and the few words that say so."""
    found = []
    for place, second in enumerate(asked):
        for first in asked:
            if first.passage != second.passage or not second.kind or not first.kind or first is second:
                continue
            if first.kind == second.kind:
                found.append((first, second, rng.choice(NEXT[language]).format(second.value)))
            elif second.kind.after and first in asked[:place]:
                found.append((first, second, fill(rng.choice(second.kind.after), second.slots)))
    return found


def _unanswerable(
    scene: Scene, shop: Shop, templates: Templates, here: Sequence[Section], abstain: str
) -> list[dict[str, Any]]:
    """Questions that no rule of this shop answers, most of them near what it has."""
    rng, language = scene.rng, shop.language
    held = {(rule.kind.line, rule.value) for rule in shop.rules if rule.kind}
    lines = {line for line, _ in held}
    pools: dict[str, list[tuple[Kind | None, str, Rule | None]]] = {name: [] for name in ABSENT}
    for section in (s for t in templates.topics for s in t.sections if s.suits(scene.trade)):
        near = section in here
        if near:
            pools["gap"] += [(None, fill(text, scene.facts), None) for text in section.gaps]
        for kind in (k for k in section.kinds if not k.shared):
            values = [(fill(v, scene.facts), own) for v, own in options(kind, scene.words)]
            free = [pair for pair in values if (kind.line, pair[0]) not in held]
            if free:
                rule = make_rule(scene, kind, kind.rules[0], *rng.choice(free), "")
                pool = "value" if kind.line in lines else "near" if near else "far"
                pools[pool].append((kind, _question(rng, rule), rule))
    pools["strange"] = [(None, text, None) for text in templates.strange]
    shuffled = {name: rng.sample(pool, len(pool)) for name, pool in pools.items()}
    picked = [one for name, count in ABSENT.items() for one in shuffled[name][:count]]
    spare = [one for name, count in ABSENT.items() for one in shuffled[name][count:]]
    rows = []
    for kind, text, rule in [*picked, *spare][: COUNTS["unanswerable"]]:
        if kind and rule:
            shop.missing.append((kind, rule.value))
        row = _row("unanswerable", _typed(rng, text, rule, language), [], language)
        rows.append({**row, "answer": abstain})
    return rows


def _row(kind: str, text: str, rules: Sequence[Rule], language: Language, history: Any = ()) -> dict[str, Any]:
    return {
        "language": language, "kind": kind, "history": list(history), "text": text,
        "passages": [rule.passage for rule in rules], "answer": _cited(rules, language),
    }  # fmt: skip


def _cited(rules: Sequence[Rule], language: Language) -> str:
    space = " " if language == "en" else ""
    return space.join(f"{rule.text}{space}[{n}]" for n, rule in enumerate(rules, 1))


def _typed(rng: random.Random, text: str, rule: Rule | None, language: Language) -> str:
    """The question as a shopper types it: greeted or not, with capitals, short forms and slips, but no other value."""
    if rng.random() < 0.15:
        old, new = rng.choice(SHORT[language])
        text = text.replace(old, new)
    if language == "en" and rng.random() < 0.2:
        kept = f"{rule.value} {' '.join(rule.slots.values())}".lower() if rule else ""
        words = [w for w in text.split() if w.isalpha() and len(w) > 4 and w.lower() not in kept]
        if words:
            word = rng.choice(words)
            at = rng.randrange(1, len(word) - 2)
            slips = (word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at + 1 :])
            text = text.replace(word, rng.choice(slips), 1)
    mark = "?" if language == "en" else "？"
    if rng.random() < 0.15:
        text = text.removesuffix(mark) + rng.choice(BYE[language])
    elif rng.random() < 0.5:
        text = text.removesuffix(mark) + mark
    if rng.random() < 0.2:
        text = rng.choice(HELLO[language]) + text
    look = rng.random()
    if language == "en" and look < 0.4:
        text = text.upper() if look < 0.03 else text[0].upper() + text[1:]
    return text
