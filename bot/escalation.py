"""When a human takes over: the rules, each with its reason code.

Pure: reads probabilities, words and past outcomes; the classifier and the log live elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.types import Language, Mood, Outcome, Reason

ANGRY_AT_ONCE = 0.90
"""One message this angry is enough."""
ANGRY_RUNNING = 0.60
"""The running mood that escalates."""
CALM_AGAIN = 0.30
"""Hysteresis: after a handoff the running mood must have sunk below this before anger counts again."""
KEEP = 0.5
"""How much of the running mood is kept at each message."""

_PERSON_EN = re.compile(
    r"""\b(?:talk|speak|spoke|chat|connect|transfer|put|get|give|want|need|reach|pass|escalate|prefer|switch)\b
        [^.?!\n]{0,40}?\b(?:(?:a|an|your|the|some|another|actual|real|live|to)\s+)*
        (?:human(?:\s+being)?|(?:real|actual|live|another)\s+(?:person|human|agent|one)|person|agent|representative|rep
        |operator|some(?:one|body)\s+(?:real|else|human)|manager|supervisor|staff\s+member|advisor|colleague)\b
        (?!\s+(?:who|that|to\s+(?:assemble|install|deliver|sign|pick)|account))
      |\b(?:talk|speak|chat|connect\s+me)\s+(?:to|with)\s+some(?:one|body)\b
      |^\W*(?:(?:a\s+)?(?:real\s+|live\s+)?(?:human|agent|person|representative|operator|supervisor|manager))
        \s*(?:,?\s*(?:please|pls|now))?\W*$
      |\bno\s+(?:more\s+)?(?:bots?|robots?|machines?)\b | \bnot\s+(?:a|with\s+a|to\s+a)\s+(?:bot|robot|machine)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_NOT_PERSON_EN = re.compile(
    r"\bwhat (?:time|hours)\b|\b(?:opening |working )?hours\b|\bwhen (?:can|are|is|do)\b|\bhow long\b|"
    r"\bdo(?:es)? (?:someone|somebody|a person|anyone) (?:have|need)\b|\bsign for\b|\bgift (?:for|to)\b",
    re.IGNORECASE,
)
_PERSON_ZH = re.compile(
    r"(?:转|找|叫|要|接|换|请|给我|帮我接|需要|联系|呼叫|想和|想跟|能和|跟|和)(?:一?下|个|一个|你们的?|到|接)*"
    r"(?:人工|真人|活人|客服人员|真的客服|人工客服|客服经理|经理|主管|负责人|领导)"
    r"|^\W*(?:人工|真人|转接|人工客服|人工服务|客服|找客服|有人吗.{0,2}人工)[\W啊呢吧了]*$|转客服|别用机器人|不要机器人|不想(?:和|跟)机器人"
)
_NOT_PERSON_ZH = re.compile(r"几点|什么时候上班|上班时间|服务时间|工作时间|人工(?:费|智能|安装|组装|搬)")


def asks_for_person(text: str) -> bool:
    """Whether the shopper asks to be passed to a human, in either language; a question about hours is none."""
    english = _PERSON_EN.search(text) and not _NOT_PERSON_EN.search(text)
    chinese = _PERSON_ZH.search(text) and not _NOT_PERSON_ZH.search(text)
    return bool(english or chinese)


def running(angers: Sequence[float]) -> float:
    """The running mood after these messages: an exponential average of their anger, 0 to 1."""
    level = 0.0
    for anger in angers:
        level = KEEP * level + (1 - KEEP) * anger
    return level


def is_angry(angers: Sequence[float], *, handed_off_after: int = 0) -> bool:
    """Whether anger escalates now.

    Args:
        angers: anger of each message of the shopper that the bot has read, oldest first.
        handed_off_after: how many of them came before the last handoff; anger must have sunk since, or be new.
    """
    fresh = list(angers[handed_off_after:])
    if not fresh:
        return False
    if fresh[-1] >= ANGRY_AT_ONCE:
        return True
    level = running(angers[:handed_off_after])
    armed = handed_off_after == 0 or level < CALM_AGAIN
    for anger in fresh:
        level = KEEP * level + (1 - KEEP) * anger
        armed = armed or level < CALM_AGAIN
    return armed and level >= ANGRY_RUNNING


def before_answer(text: str, angers: Sequence[float], *, handed_off_after: int = 0) -> Reason | None:
    """The rule that escalates a message before anything is generated."""
    if asks_for_person(text):
        return "asked_for_person"
    return "angry" if is_angry(angers, handed_off_after=handed_off_after) else None


def after_abstaining(earlier: Sequence[Outcome]) -> Reason | None:
    """Two abstentions in a row escalate: `earlier` holds the outcomes since the last handoff, oldest first."""
    return "abstained_twice" if earlier and earlier[-1] == "abstained" else None


def summary(language: Language, reason: Reason, questions: Sequence[str], mood: Mood | None) -> str:
    """At most three lines for the human agent: why, what was asked, what came before."""
    why = {
        "en": {"angry": "The shopper is angry.", "asked_for_person": "The shopper asked for a person.",
               "engine_failed": "The assistant could not answer.",
               "abstained_twice": "The assistant found no answer twice.",
               "returned_to_queue": "The human agent left."},
        "zh": {"angry": "顾客情绪激动。", "asked_for_person": "顾客要求人工。", "engine_failed": "助手无法回答。",
               "abstained_twice": "助手连续两次没有找到答案。", "returned_to_queue": "接待的客服离开了。"},
    }[language][reason]  # fmt: skip
    if mood is not None:
        why += f" ({mood.label}, {mood.angry:.0%})"
    lines = [why]
    if questions:
        last, before = ("Last: ", "Before: ") if language == "en" else ("最后：", "之前：")
        lines.append(last + _short(questions[-1]))
        if len(questions) > 1:
            lines.append(before + " / ".join(_short(q, 60) for q in questions[-3:-1]))
    return "\n".join(lines)


def _short(text: str, limit: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
