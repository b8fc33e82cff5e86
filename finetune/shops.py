"""Invented shops: rules with ever other numbers and names, and shoppers' questions about them.

The kinds of rules stand in `finetune/data/shops/<language>*.txt`; the head of `<language>.txt` explains the format.
Every tenth kind is held out: its rules stand in contexts, but nothing asks about them in training.
Run `python -m finetune.shops` to read a few.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.errors import DocumentError
from bot.prompt import cited
from bot.types import LANGUAGES, Language, Message, Passage
from finetune.tasks import Item, Question, Scribe, glued, several

FOLDER = Path(__file__).parent / "data/shops"
HELD_OUT = 10


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of rule: wordings of the rule, questions it answers, and the values of `{e}`."""

    rules: tuple[str, ...]
    questions: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kinds:
    """All kinds per language, and which of them may be asked about."""

    kinds: Mapping[Language, tuple[Kind, ...]]
    asked: Mapping[Language, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind with its slots filled: what a passage says, and what a shopper asks."""

    kind: int
    text: str
    questions: tuple[str, ...]
    value: str


def load_kinds(folder: Path = FOLDER, held_out: bool = False) -> Kinds:
    """Read the kinds of both languages, file by file.

    Args:
        held_out: whether questions are to be about the held-out kinds, or about the others.

    Raises:
        DocumentError: a line is no rule, question, value or comment, or a block lacks rules or questions.
    """
    kinds: dict[Language, tuple[Kind, ...]] = {
        language: tuple(kind for path in sorted(folder.glob(f"{language}*.txt")) for kind in _read(path))
        for language in LANGUAGES
    }
    asked: dict[Language, frozenset[int]] = {
        k: frozenset(i for i in range(len(v)) if (i % HELD_OUT == 5) == held_out) for k, v in kinds.items()
    }
    return Kinds(kinds, asked)


def _read(path: Path) -> list[Kind]:
    found = []
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
        marks = {"=": [], "-": [], "?": []}  # type: dict[str, list[str]]
        for line in lines:
            if line[:2] not in ("= ", "- ", "? "):
                raise DocumentError(f'{path}: "{line}" begins with none of "= ", "- ", "? ".')
            marks[line[0]].append(line[2:].strip())
        if lines and not (marks["-"] and marks["?"]):
            raise DocumentError(f'{path}: the block of "{lines[0]}" needs a rule ("- ") and a question ("? ").')
        if lines:
            found.append(Kind(tuple(marks["-"]), tuple(marks["?"]), tuple("|".join(marks["="]).split("|"))))
    return found


WORDS: Mapping[Language, Mapping[str, Sequence[str]]] = {
    "en": {
        "i": "lamp|kettle|chair|table|sofa|blender|toaster|rug|mirror|clock|shelf|fan|heater|suitcase|teapot|bike|"
             "tent|mattress|desk|drill|camera|speaker|jacket|vase|pan|stove|bench|printer|backpack|mug".split("|"),
        "I": "lamps|chairs|tables|sofas|blenders|rugs|mirrors|shelves|fans|heaters|suitcases|tents|desks|beds|"
             "cameras|wardrobes|cabinets|benches|curtains|cribs|bookcases|stools".split("|"),
        "w": "UPS|USPS|FedEx|DHL|GLS|Royal Mail|Canada Post|OnTrac|Evri|our own vans".split("|"),
        "y": "Visa|Mastercard|PayPal|Apple Pay|Google Pay|American Express|bank transfer|gift card|Klarna|cash on "
             "delivery|Discover|debit card|store credit|check".split("|"),
        "shop": "Larkfield|Oak & Iron|Bluebarn|Marlow Home|Tidewater|The Copper Pot|Nordlys|Hazelbrook|Quillon|"
                "Brightwell|Juniper Lane|Saltmarsh|Kestrel|Wrenhouse".split("|"),
        "head": "Shipping|Delivery|Returns|Refunds|Payment|Orders|Membership|Warranty|Products|Help|Service|Terms|"
                "Your account|Care|Gifts|Stores|Costs|Times|Conditions|How it works|Good to know|Details".split("|"),
        "month": "January|February|March|April|May|June|July|August|September|October|November|December".split("|"),
        "before": "hi, |hello |hey there, |quick question: |please tell me, |sorry to bother you, |um |good evening. |"
                  "i have been waiting all day. |my order came yesterday. |first time here. |ok so ".split("|"),
        "after": " please| thanks| thank you!|??| pls| asap|, it is urgent|, i need to know today| :)|...".split("|"),
        "join": " and |? and |? also, | and also |. another thing: ".split("|"),
        "next": "and {}?|what about {}?|and for {}|how about {}?|same for {}?|{}?".split("|"),
    },
    "zh": {
        "i": "台灯|水壶|椅子|桌子|沙发|风扇|吸尘器|净化器|床垫|书架|地毯|镜子|行李箱|茶具|炒锅|电饭煲|取暖器|衣柜|"
             "音箱|鞋柜|砂锅|保温杯|烤箱|挂钟|晾衣架|加湿器".split("|"),
        "I": "窗帘|衣柜|床|桌子|沙发|书柜|床垫|橱柜|地毯|椅子|鞋柜|榻榻米|屏风|餐桌".split("|"),
        "w": "中通|圆通|顺丰|韵达|申通|极兔|京东快递|邮政|德邦|菜鸟".split("|"),
        "y": "支付宝|微信支付|花呗|银联|信用卡|云闪付|货到付款|礼品卡|余额|白条|数字人民币|对公转账".split("|"),
        "shop": "青禾|木棉家|云杉|松果集|南屿|一间小铺|白鹭|拾光|山止|半亩|朴居|禾木|朝露|星野".split("|"),
        "head": "配送|物流|退货|退款|支付|订单|会员|保修|商品|帮助|服务|条款|账号|保养|礼品|门店|费用|时间|条件|"
                "常见问题|须知|说明".split("|"),
        "before": "你好，|您好 |亲，|请问|麻烦问下，|想问一下|不好意思，|客服在吗？|急，|我昨天刚下单，|第一次买，|那个".split("|"),
        "after": "，谢谢|呀|呢|啊？|，急|，麻烦了|～|？？|，在线等|哈|，谢谢啦".split("|"),
        "join": "，还有|？另外|，|。再问一下，|？还有就是".split("|"),
        "next": "那{}呢？|{}呢|换成{}呢？|如果是{}呢？|{}也一样吗？".split("|"),
    },
}  # fmt: skip


def fill(rng: random.Random, kind: Kind, number: int, value: str, language: Language) -> Rule:
    """A rule of this kind with fresh numbers and names."""
    words = WORDS[language]
    small = rng.randint(1, 9) if rng.random() < 0.7 else rng.randint(10, 30)
    low = rng.randint(1, 12)
    big = rng.choice((rng.randint(10, 99), rng.randint(10, 99), rng.randint(100, 999), rng.randint(1, 40) * 5))
    price, more = rng.randint(1, 49), rng.choice((rng.randint(20, 199), rng.randint(2, 60) * 50))
    hour, later = rng.randint(7, 12), rng.randint(1, 10)
    slots = {k: rng.choice(words[k]) for k in ("i", "I", "w")}
    slots["y"], slots["y2"] = rng.sample(words["y"], 2)
    slots |= {
        "n": str(small),
        "n2": str(rng.randint(2, 40)),
        "N": str(big),
        "e": value,
        "E": value[:1].upper() + value[1:],
    }
    if language == "en":
        unit = rng.choice("$$$£€")
        slots |= {
            "r": f"{low} to {low + rng.randint(1, 9)}", "p": f"{rng.randint(1, 19) * rng.choice((1, 5))}%",
            "m": unit + rng.choice((f"{price}.{rng.choice(('95', '99', '50', '00', '49'))}", str(price))),
            "M": f"{unit}{more}", "t": f"{hour} am", "t2": f"{later} pm", "c": "town",
            "d": f"{rng.choice(words['month'])} {rng.randint(1, 30)}",
        }  # fmt: skip
        if rng.random() < 0.4:
            slots["t"] = f"{later}{rng.choice((' pm', ':30 pm', ' pm Eastern', ':15 pm'))}"
    else:
        slots |= {
            "r": f"{low}{rng.choice(('到', '–', '至', '-'))}{low + rng.randint(1, 9)}", "p": f"{rng.randint(1, 60)}%",
            "m": f"{price}元", "M": f"{more}元", "t": f"{hour}:{rng.choice(('00', '30'))}", "c": "外地",
            "t2": f"{later + 12}:{rng.choice(('00', '30'))}", "d": f"{rng.randint(1, 12)}月{rng.randint(1, 28)}日",
            "z": f"{rng.randint(5, 9)}{rng.choice(('折', '.5折', '.8折'))}",
        }  # fmt: skip
    text = rng.choice(kind.rules).format(**slots)
    return Rule(number, text, tuple(q.format(**slots) for q in kind.questions), value)


def ask(rng: random.Random, question: str, language: Language) -> str:
    """The question as a shopper would type it: with or without greeting, capitals, marks and slips."""
    words = WORDS[language]
    if rng.random() < 0.25:
        question = rng.choice(words["before"]) + question
    if rng.random() < 0.2:
        question += rng.choice(words["after"])
    elif rng.random() < 0.4:
        question += "?" if language == "en" else "？"
    if language == "en" and rng.random() < 0.35:
        question = question[0].upper() + question[1:]
    if rng.random() < 0.12 and len(question) > 12:  # a letter lost
        at = rng.randrange(3, len(question) - 3)
        question = question[:at] + question[at + 1 :]
    return question


def shop_item(rng: random.Random, scribe: Scribe, kinds: Kinds, language: Language, size: int) -> Item:
    """A shop's passages of `size` rules at most, and questions about them."""
    known, words = kinds.kinds[language], WORDS[language]
    numbers = rng.sample(range(len(known)), min(size, len(known)))
    if not kinds.asked[language] & set(numbers):
        numbers[0] = rng.choice(sorted(kinds.asked[language]))
    rules: list[Rule] = []
    for number in numbers:
        values = known[number].values
        apart = all("{e}" in q for q in known[number].questions)  # else two rules would answer one question
        for value in rng.sample(values, min(len(values), rng.choice((1, 1, 2, 3)) if apart else 1)):
            rules.append(fill(rng, known[number], number, value, language))
    rules = rules[: max(size, 2)]
    cuts = sorted(rng.sample(range(1, len(rules)), min(rng.randint(0, 2), len(rules) - 1)))
    chunks = [rules[a:b] for a, b in zip([0, *cuts], [*cuts, len(rules)], strict=True)]
    passages = []
    for place, chunk in enumerate(chunks):
        heading = rng.choice(words["head"]) if rng.random() < 0.7 else rng.choice(chunk[0].questions)
        style = rng.random()
        lines = [f"- {rule.text}" for rule in chunk] if style < 0.8 else [rule.text for rule in chunk]
        text = "\n".join(lines) if style < 0.9 else ("" if language == "zh" else " ").join(r.text for r in chunk)
        passages.append(Passage(f"shop#{place}", "shop", rng.choice(words["head"]), heading, text, language))
    placed = [(rule, n) for n, chunk in enumerate(chunks, 1) for rule in chunk]
    askable = [pair for pair in placed if pair[0].kind in kinds.asked[language]]
    shop = rng.choice(words["shop"])
    if rng.random() < 0.1 and (follow := _follow_up(rng, askable, language)):
        return scribe.write(shop, passages, [follow], language)
    questions = []
    twice = rng.sample(askable, min(len(askable), 2))  # asked again in other words
    for first in [*rng.sample(askable, min(len(askable), 5)), *twice]:
        told = several(rng, first, [pair for pair in askable if pair[0].kind != first[0].kind])
        text = rng.choice(words["join"]).join(rng.choice(rule.questions) for rule, _ in told[: rng.randint(1, 2)])
        answer = glued([(rule.text, n) for rule, n in told], language)
        questions.append(Question(ask(rng, text, language), answer))
    shown = {rule.kind for rule in rules}
    absent = [i for i in sorted(kinds.asked[language]) if i not in shown]
    if absent and rng.random() < 0.5:
        number = rng.choice(absent)
        rule = fill(rng, known[number], number, rng.choice(known[number].values), language)
        questions.append(Question(ask(rng, rng.choice(rule.questions), language), scribe.abstain(language)))
        if rng.random() < 0.04:
            return scribe.write(shop, [], questions[-1:], language)
    return (
        scribe.write(shop, passages, questions, language)
        if questions
        else shop_item(rng, scribe, kinds, language, size)
    )


def _follow_up(rng: random.Random, placed: Sequence[tuple[Rule, int]], language: Language) -> Question | None:
    """A question that only its history makes clear: the same kind of rule, another value."""
    for first, n in placed:
        for second, m in placed:
            if first.kind == second.kind and first.value != second.value:
                history = (
                    Message("user", ask(rng, rng.choice(first.questions), language)),
                    Message("assistant", cited(first.text, n, language)),
                )
                text = rng.choice(WORDS[language]["next"]).format(second.value)
                return Question(text, cited(second.text, m, language), history)
    return None


if __name__ == "__main__":
    shown = load_kinds()
    for tongue in LANGUAGES:
        for place, kind in enumerate(shown.kinds[tongue]):
            rule = fill(random.Random(place), kind, place, kind.values[0], tongue)
            print(rule.text, "|", *(ask(random.Random(place), q, tongue) for q in rule.questions[:2]))
