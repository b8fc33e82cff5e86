"""When a human takes over: requests in shoppers' own words, anger with hysteresis, abstentions, summaries."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import escalation
from bot.escalation import ANGRY_AT_ONCE, after_abstaining, asks_for_person, before_answer, is_angry, running, summary
from bot.types import Mood

LINES = [
    json.loads(line)
    for language in ("en", "zh")
    for line in (Path(__file__).parent / f"data/person_{language}.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line["text"])
def test_a_request_for_a_person_is_told_from_what_only_looks_like_one(line):
    assert asks_for_person(line["text"]) == line["asks"]


def test_a_request_beside_another_question_counts():
    assert asks_for_person("What are your hours? Forget it. Transfer me to a human!")
    assert asks_for_person("你们几点上班？算了，转人工吧。")


PATTERNS = ["_ASK_EN", "_NO_ASK_EN", "_ASK_ZH", "_NO_ASK_ZH"]


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_repeats_a_group_without_bound(name):
    """Such a group, tried anew at every word of a long run, took 0.4 s on the event loop for 2,000 characters."""
    assert re.findall(r"\)(?:[*+]|\{\d*,\})", getattr(escalation, name).pattern) == []


@pytest.mark.parametrize(
    "filler",
    [
        "a ",
        "the a ",
        "live ",
        "human sized ",
        "with a real ",
        "talk to a ",
        "agent  ",
        " ",
        "接",
        "找一下",
        "人工智能",
        "-, ",
    ],
)
def test_a_request_at_the_end_of_a_long_run_is_still_heard(filler):
    run = (filler * 2000)[:1900]
    assert not asks_for_person(run + "x")
    assert asks_for_person(run + ". Can I talk to a person please")
    assert asks_for_person(run + "。转人工")


def test_spaces_between_the_words_of_a_request_count_as_one():
    assert asks_for_person(" agent" + " " * 1900 + "please ")
    assert asks_for_person("talk\tto  a " + " " * 1900 + "human")


def test_one_very_angry_message_is_enough():
    assert is_angry([0.0, 0.0, ANGRY_AT_ONCE])
    assert not is_angry([0.0, 0.0, ANGRY_AT_ONCE - 0.01])


def test_lasting_anger_escalates_though_no_message_is_extreme():
    assert not is_angry([0.8, 0.8][:1])
    assert is_angry([0.8, 0.8])


def test_anger_that_has_passed_does_not_escalate():
    assert not is_angry([0.8, 0.8, 0.1])


def test_after_a_handoff_the_same_anger_does_not_escalate_again():
    before = [0.8, 0.8]
    assert not is_angry([*before, 0.7], handed_off_after=2)
    assert not is_angry(before, handed_off_after=2)


def test_after_a_handoff_anger_counts_again_once_it_had_sunk():
    calmed = [0.8, 0.8, 0.0, 0.0]
    assert not is_angry([*calmed, 0.8], handed_off_after=2)
    assert is_angry([*calmed, 0.8, 0.8], handed_off_after=2)


def test_after_a_handoff_a_very_angry_message_counts_at_once():
    assert is_angry([0.8, 0.8, 0.95], handed_off_after=2)


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0, 1))
def test_the_running_mood_lies_between_its_messages_and_grows_with_the_last(angers, last):
    assert 0 <= running([*angers, last]) <= max([*angers, last])
    assert running([*angers, last]) <= running([*angers, 1.0])


def test_a_request_comes_before_anger():
    assert before_answer("Get me a human!", [0.99]) == "asked_for_person"
    assert before_answer("Where is it", [0.99]) == "angry"
    assert before_answer("Where is it", [0.1]) is None


@pytest.mark.parametrize(
    ("earlier", "reason"),
    [
        ([], None),
        (["answered"], None),
        (["abstained"], "abstained_twice"),
        (["abstained", "answered"], None),
        (["quoted", "abstained"], "abstained_twice"),
    ],
)
def test_the_second_abstention_in_a_row_escalates(earlier, reason):
    assert after_abstaining(earlier) == reason


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "reason", ["angry", "asked_for_person", "engine_failed", "abstained_twice", "returned_to_queue"]
)
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_summary_has_at_most_three_short_lines(language, reason, count):
    questions = [f"{n}: first line\nsecond line\n{'long ' * 100}" for n in range(count)]
    lines = summary(language, reason, questions, Mood(0.1, 0.2, 0.7)).split("\n")
    assert len(lines) == min(3, 1 + count)
    assert all(len(line) <= 170 for line in lines)
    assert "(angry, 70%)" in lines[0]


def test_a_summary_tells_the_last_question_and_what_came_before():
    told = summary("en", "abstained_twice", ["one?", "two?", "three?"], None)
    assert told == "The assistant found no answer twice.\nLast: three?\nBefore: one? / two?"
    assert summary("zh", "angry", ["一？", "二？"], None) == "顾客情绪激动。\n最后：二？\n之前：一？"
