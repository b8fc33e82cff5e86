"""When a human takes over: the rules, each with its reason code.

Pure: reads probabilities, words and past outcomes; the classifier and the log live elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.types import Language, Mood, Outcome, Reason

ANGRY_AT_ONCE = 0.88
"""One message this angry is enough. Of hard lines it finds 31 % (en) and 49 % (zh) of the angry ones, and takes none and
0.9 % of the others for them (`python -m tests.bench.mood`, 2026-11-28)."""
ANGRY_RUNNING = 0.50
"""The running mood that escalates: two messages in a row at 0.67, say."""
CALM_AGAIN = 0.25
"""Hysteresis: after a handoff the running mood must have sunk below this before anger counts again."""
KEEP = 0.5
"""How much of the running mood is kept at each message."""

# A group is repeated a bounded number of times only: an unbounded one costs the square of a hostile message's length.
_WHO = r"""(?:(?:a|an|your|the|some|one\s+of|another|actual|real|live|human|to|with|of|chat|customer\s+(?:service|support|care))\s+){0,8}
    (?:humans?(?:\s+being)?s?|(?:real|actual|live)\s+(?:persons?|people|ones?)|persons?|agents?|rep(?:resentative)?s?
    |operators?|some(?:one|body)\s+(?:real|else|human|in|from)|managers?|supervisors?|boss|staff\s+members?|advisors?|colleagues?
    |(?:customer|live)\s+(?:service|support|care|chat))\b(?!'s|[\s-]+(?:sized|sample|hair|in\s+(?!here)|who|that|account))"""
_ASK_EN = re.compile(
    rf"""\b(?:talk|speak|spk|chat|deal)(?:ing)?\b[^.?!\n]{{0,20}}?\b{_WHO}
      |\b(?:talk|speak|spk|chat|connect\s+me|put\s+me\s+through)\s+(?:to|2|w|with)\s+some(?:one|body)\b
      |\b(?:connect|transfer|pass|put|switch|hand|escalate|forward)(?:ed|red)?\b[^.?!\n]{{0,25}}?\b(?:to|2|w|with)\s+{_WHO}
      |\b(?:get|give|find|fetch|reach|contact)\s+(?:me\s+)?{_WHO} | \b(?:help|assistance|support)\s+from\s+{_WHO}
      |\b(?:can|could)\s+some(?:one|body)\s+from\s+(?:your|the)\s+(?:team|company|shop|store|support)\b
      |\b(?:want|need|prefer|i'?d\s+like|ask(?:ing|ed)?\s+for|where\s+is|a\s+word\s+with)\s+{_WHO}
      |\bgive\s+me\s+some(?:one|body)\b
      |\b{_WHO}(?:\s+\w+)?\s+(?:that\s+)?i\s+can\s+(?:talk|speak|chat)
      |\b(?:can|could|may)\s+(?:a\s+(?:human|(?:real\s+)?person|colleague)(?!\s+else)|some(?:one|body)\s+(?:real|human))\b
      |\b(?:can|could|please|pls)\s+(?:you\s+)?(?:please\s+)?(?:get|have)\s+some(?:one|body)\s+(?:to\s+)?(?:call|contact|phone|ring|message)
      |\b(?:get|reach)\s+some(?:one|body)\s+(?:real|human)\b
      |^\W*(?:(?:a|the)\s+)?(?:(?:real|live|customer\s+service|human)\s+)?
        (?:human|agent|person|representative|rep|operator|supervisor|manager)\s*(?:,?\s*(?:please|pls|plz|now))?\W*$
      |\bno\s+(?:more\s+)?(?:bots?|robots?)\b(?!\s+(?:vacuum|mop))
      |\bnot?\s+(?:with\s+|to\s+)?(?:a|this)\s+(?:bot|robot|machine)\b(?!\s+(?:vacuum|mop|thing|wash))
      |\b(?:don'?t|do\s+not)\s+wan(?:t|na)\s+(?:to\s+)?(?:talk|speak|chat)\s+(?:to|with)\s+(?:a|this|the)\s+(?:bot|robot|machine)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_NO_ASK_EN = re.compile(
    r"\bwhat (?:time|hours)\b|\b(?:opening |working )?hours\b|\bwhen (?:can|are|is|do)\b|\bhow long\b|"
    r"\bdo(?:es)? (?:someone|somebody|a person|anyone) (?:have|need)\b|\bsign for\b|\bgifts? (?:for|to|card)\b|"
    r"\b(?:to|need a person to) (?:assemble|install|deliver|sign|pick|carry)\b|\b(?:i|we) (?:spoke|talked|chatted)\b|"
    r"\bam i (?:talking|speaking|chatting)\b|\bhuman or (?:a )?(?:ro)?bot\b|\b(?:ro)?bot or (?:a )?(?:human|person)\b",
    re.IGNORECASE,
)
_PERSON_ZH = (
    r"(?:人工客服|人工服务|人工|真人客服|真人|活人|真的客服|客服人员|客服本人|客服经理|经理|主管|负责人|领导|上级)"
)
_ASK_ZH = re.compile(
    rf"(?:转|找|叫|喊|要|接|换|请|让|给我|需要|联系|呼叫|安排|想和|想跟|能和|能跟|可以和|可以跟|跟|和)(?:一?下|个|一个|你们的?|到|接|通|位|一位){{0,6}}{_PERSON_ZH}(?!充|打|缝)"
    rf"|人工(?:来)?(?:帮我)?(?:处理|帮忙|解决|回复)|(?:可以|能不能|能|直接)人工|(?:人工|人工客服|客服人员|客服)在哪|(?:给我|要求)人工|(?:想|要)(?:和|跟)你们的?客服|客服(?:在吗|在不在|呢)|(?:找|叫)一?下?客服"
    r"|(?:找|叫|换|喊)个?人(?:来|跟我|和我|处理|说|工|$|[，。！!])|(?:找|叫)你们(?:老板|领导|经理)|找个[^，。]{0,8}的人"
    rf"|(?:有没有|有)(?:个|一个)?(?:人工|真人|活人)|(?:人工|真人)(?:客服)?(?:还?在吗|在不在|有吗|在线吗)"
    rf"|^\W*(?:(?:人工|真人){{1,9}}|转接|人工客服|人工服务|客服|找客服)[\W啊呢吧了]*$|转个?客服|给我(?:接|转)个?客服|(?:跟|和)(?:真?人|活人)(?:说话|聊|沟通)"
    r"|(?:别用|不要|不想(?:和|跟)|别让)机器人(?!拖|扫|吸|洗|那)"
)
_NO_ASK_ZH = re.compile(
    r"几点|什么时候上班|上班时间|服务时间|工作时间|(?:周[一二三四五六日天末]|节假日|晚上|夜里|春节)[^，,。？?]{0,4}有人工|人工(?:费|智能|安装|组装|搬)|(?:昨天|前天|之前|上次|刚才|刚刚)[^，,。？?!！]{0,8}客服|"
    r"(?:经理|主管|领导|负责人)(?:要开|签收|买|用|办公)|[给送]领导|给主管(?:买|送)"
)


def asks_for_person(text: str) -> bool:
    """Whether the shopper asks to be passed to a human, in either language; a question about hours is none."""
    return any(
        _ASK_EN.search(part) and not _NO_ASK_EN.search(part) or _ASK_ZH.search(part) and not _NO_ASK_ZH.search(part)
        for part in (" ".join(part.split()) for part in re.split(r"[.?!。？！\n]+", text))
    )


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
